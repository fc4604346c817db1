/** The signals that a program can be sent. */
import { announce } from "../shell/announce";
import { Menu } from "../shell/menu";
import type { Running, SignalName } from "./run";

const SIGNALS: { name: SignalName; title: string; about: string }[] = [
  { name: "INT", title: "Interrupt", about: "SIGINT, as Ctrl+C" },
  { name: "TERM", title: "Terminate", about: "SIGTERM" },
  { name: "KILL", title: "Kill", about: "SIGKILL" },
];

export function Signals({ running }: { running: Running }) {
  const items = SIGNALS.map(({ name, title, about }) => ({
    title,
    about,
    choose() {
      running.signal(name);
      announce(`SIG${name} is sent`);
    },
  }));
  return <Menu title="Signal" items={items} />;
}
