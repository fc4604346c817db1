/** Where the page starts: the shell, and in it whatever the address says. */
import { render } from "preact";

import { Shell } from "./shell/shell";

const root = document.getElementById("page");
if (root) render(<Shell />, root);
