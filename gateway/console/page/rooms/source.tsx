/** The editor of a room, on the file that is shown. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { type Editor, open } from "../play/editor";
import { announce } from "../shell/announce";
import type { SharedFile } from "./document";
import { languageOf } from "./languages";
import type { Room } from "./room";
import { SharedFiles } from "./sharing";

const TOO_MUCH = "That is more than a room takes at once";
const TOLD_MS = 6000;

interface SourceProps {
  room: Room;
  file: SharedFile | undefined;
  editor: { current: Editor | undefined };
}

export function Source({ room, file, editor }: SourceProps) {
  const host = useRef<HTMLDivElement>(null);
  const [told, setTold] = useState("");
  const refuse = () => {
    setTold(TOO_MUCH);
    announce(TOO_MUCH);
  };
  const shared = useMemo(() => new SharedFiles(room.presence, refuse), [room]);
  useEffect(() => {
    const timer = setTimeout(() => setTold(""), TOLD_MS);
    return () => clearTimeout(timer);
  }, [told]);
  const language = languageOf(room.meta.value.language);
  const mayEdit = room.mayEdit.value;
  const files = room.files.value;
  const isGuest = !mayEdit && room.role.value !== undefined && room.connection.state.value !== "ended";

  useEffect(() => {
    if (!host.current) return;
    const opened = open(host.current);
    editor.current = opened;
    return () => {
      opened.close();
      editor.current = undefined;
    };
  }, [room]);

  useEffect(() => {
    if (file) editor.current?.show(file.id, `Source of ${file.path}`, file.text.toString(), language?.syntax, shared.sharing(file, !mayEdit));
    // What is written comes to the editor by itself, and a language looks as it did when it is told of again.
  }, [room, file?.text, file?.path, language?.id, language?.syntax !== undefined, mayEdit]);
  useEffect(() => shared.keep(files), [files]);

  return (
    <>
      <div class="source" ref={host} />
      <p class="source-foot small muted">
        <span id="editor-hint">
          <kbd>Esc</kbd> then <kbd>Tab</kbd> leaves the editor
        </span>
        {told ? <span class="fault">{told}</span> : null}
        {isGuest ? <span>You may {room.mayRun.value ? "run this, not change it" : "look at this"}</span> : null}
      </p>
    </>
  );
}
