/** A link to what the gateway tells as data. A browser sends no key by itself, so with one it is brought, and shown in a tab of its own. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { load, reason } from "../lib/data";
import { key } from "../lib/key";

/** A tab has taken what is shown in it by then. */
const TAKEN_MS = 60_000;

export function DataLink({ href, children }: { href: string; children: ComponentChildren }) {
  const [fault, setFault] = useState("");
  if (!key.value) return <a href={href}>{children}</a>;
  const follow = (event: MouseEvent) => {
    if (event.button > 1) return;
    event.preventDefault();
    setFault("");
    void show(href).then(setFault);
  };
  return (
    <>
      <a href={href} onClick={follow} onAuxClick={follow} title="Opens in another tab">
        {children}
      </a>
      {fault ? (
        <span class="fault" role="alert">
          {" "}
          ({fault})
        </span>
      ) : null}
    </>
  );
}

/** Why it cannot be shown, if it cannot. */
async function show(path: string): Promise<string> {
  // Browsers open tabs only at once, before anything is waited for.
  const tab = open("about:blank", "_blank");
  try {
    const address = URL.createObjectURL(await load(path));
    setTimeout(() => URL.revokeObjectURL(address), TAKEN_MS);
    if (tab) tab.location.replace(address);
    else save(address, path);
    return "";
  } catch (error) {
    tab?.close();
    return reason(error);
  }
}

/** Where no tab may be opened, it is saved as a file. */
function save(address: string, path: string): void {
  const link = document.createElement("a");
  link.href = address;
  link.download = `${path.split("?")[0]?.split("/").at(-1) || "data"}.txt`;
  link.click();
}
