/**
 * Stands for a style element, which the page's policy refuses: what is written into it becomes a sheet, and those
 * scripts may make. The build puts it into xterm, in place of each element that this makes (`vite.config.ts`).
 */
export function styleElement(): HTMLElement {
  const sheet = new CSSStyleSheet();
  const element = document.createElement("template");
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, "textContent", { set: (css: string) => sheet.replaceSync(css) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((it) => it !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}
