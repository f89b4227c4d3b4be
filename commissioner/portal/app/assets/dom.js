// Building pages out of elements, never out of text.
import { t } from "./text.js";

// h makes an element. What begins with "on" is listened to; true sets, and false
// leaves out, an attribute.
export function h(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value === true) e.setAttribute(name, "");
    else if (value !== false && value != null) e.setAttribute(name, value);
  }
  e.append(...children.flat(Infinity).filter((c) => c != null && c !== false));
  return e;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "#i-" + name);
  svg.append(use);
  return svg;
}

export const $ = (selector, within = document) => within.querySelector(selector);
export const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

// failure shows what went wrong: a Failure of the API, or whatever was thrown.
export function failure(err) {
  return h("div", { class: "failure", role: "alert" },
    h("p", {}, h("strong", {}, err.message)),
    err.remedy && h("p", {}, err.remedy),
    (err.reasons ?? []).filter((r) => !err.message.includes(r.message)).map((r) => h("p", {}, r.remedy ? `${r.message}: ${r.remedy}` : r.message)),
    err.code && h("p", { class: "code" }, t("js.code", { code: err.code })));
}

// labelled is a field with its label.
export const labelled = (text, field, ...more) => h("label", {}, text, field, ...more);

// times shows times as this browser's people write them.
export function times(within = document) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const e of $$("time[datetime]", within)) e.textContent = format.format(new Date(e.dateTime));
}
