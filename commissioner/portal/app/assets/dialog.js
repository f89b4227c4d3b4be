import { t } from "./text.js";
import { h } from "./dom.js";

let number = 0;

// dialog asks with a form of its own. fill is given what ends it, with a value,
// and gives what stands in it. It resolves to that value; undefined: it was
// left.
export function dialog(title, fill) {
  return new Promise((resolve) => {
    const id = "dialog-" + ++number;
    let value;
    const box = h("dialog", { "aria-labelledby": id });
    const end = (v) => { value = v; box.close(); };
    box.append(h("div", { class: "dialog" }, h("h2", { id }, title), fill(end)));
    box.addEventListener("close", () => { box.remove(); resolve(value); });
    document.body.append(box);
    box.showModal();
  });
}

// sure asks whether something shall be done.
export const sure = (text) => dialog(t("app.sure"), (end) => [
  h("p", {}, text),
  h("button", { class: "button primary", onclick: () => end(true) }, t("app.yes")),
  h("button", { class: "button", onclick: () => end(false) }, t("app.cancel")),
]);
