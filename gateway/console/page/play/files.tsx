/** The files of the program on the desk. */
import * as desk from "./desk";
import type { Editor } from "./editor";
import { freshPath } from "./program";
import { Tabs } from "./tabs";

export function Files({ editor }: { editor: { current: Editor | undefined } }) {
  const { files } = desk.draft.value;
  const active = desk.fileIndex.value;
  const thenWrite = () => setTimeout(() => editor.current?.focus());
  return (
    <Tabs
      files={files.map(({ path }) => ({ id: path, path }))}
      active={active}
      program={desk.placed.value}
      fresh={() => freshPath(files, desk.language.value?.entry ?? "")}
      onShow={desk.showFile}
      onAdd={(path) => {
        desk.change({ files: [...files, { path, content: "" }] });
        desk.showFile(files.length);
        thenWrite();
      }}
      onRename={(path) => {
        desk.changeFile(active, { path });
        thenWrite();
      }}
      onDelete={() => {
        desk.change({ files: files.filter((_, index) => index !== active) });
        desk.showFile(Math.max(0, active - 1));
      }}
    />
  );
}
