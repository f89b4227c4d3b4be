// What devices say, as they say it; and switching them.
import { t } from "./text.js";
import { $, $$, h, failure } from "./dom.js";
import { api } from "./api.js";
import { dialog } from "./dialog.js";

const onOff = 6, level = 8, descriptor = 29, maxLevel = 254;
const command = { off: 0, on: 1, level: 4 }; // MoveToLevelWithOnOff: it switches on, too
const patience = 2500; // ms for a device to say what it did
const pause = 1500; // ms between looks at lists that changed

// live follows the home's events: of(node) gives the elements that show a
// device; changed is called when the page may be other than the gateway would
// make it now: when lists are newer than index says, when a device shows itself,
// and at the beginning, since something may have happened before that.
export function live(of, changed, index) {
  let waiting = null;
  const look = () => { waiting ??= setTimeout(() => { waiting = null; changed(); }, pause); };
  const events = new EventSource("/api/v1/events");
  events.addEventListener("open", look);
  events.addEventListener("lost", look);
  events.addEventListener("device", (e) => {
    const said = JSON.parse(e.data);
    if (said.removed || said.available || Object.keys(said.values ?? {}).some((path) => path.split("/")[1] == descriptor)) look(); // there is more, or less, to show
    for (const element of of(said.node_id)) show(element, said);
  });
  events.addEventListener("home", (e) => {
    if (JSON.parse(e.data).index > index()) look();
  });
}

// show has an element show what a device said.
function show(element, said) {
  if ("available" in said) {
    element.classList.toggle("away", !said.available);
    for (const b of $$("[role=switch], .level", element)) b.disabled = !said.available;
    const badge = $(".badge[data-of=away]", element);
    if (said.available) badge?.remove();
    else if (!badge && !$(".badge[data-of]", element)) $(".said", element)?.prepend(h("span", { class: "badge", "data-of": "away" }, t("js.away")), " ");
  }
  for (const [path, value] of Object.entries(said.values ?? {})) {
    const [endpoint, cluster, attribute] = path.split("/").map(Number);
    if (attribute !== 0) continue;
    if (cluster === onOff) switched(element, endpoint, value === true);
    if (cluster === level && typeof value === "number") levelled(element, endpoint, Math.max(1, Math.round((value * 100) / maxLevel)));
    for (const e of $$(`[data-reading="${path}"]`, element)) read(e, value);
  }
}

function switched(element, endpoint, on) {
  for (const b of $$(`[role=switch][data-endpoint="${endpoint}"]`, element)) b.setAttribute("aria-checked", on);
  say(element, endpoint, on);
}

function say(element, endpoint, on) {
  const slider = element.matches(".tile") && $(`.level[data-endpoint="${endpoint}"]`, element);
  for (const e of $$(`[data-power="${endpoint}"]`, element)) e.textContent = on ? (slider ? slider.value + " %" : t("js.on")) : t("js.off");
}

function levelled(element, endpoint, percent) {
  for (const slider of $$(`.level[data-endpoint="${endpoint}"]`, element)) if (document.activeElement !== slider || !slider.matches(":active")) slider.value = percent;
  const b = $(`[role=switch][data-endpoint="${endpoint}"]`, element);
  say(element, endpoint, b?.getAttribute("aria-checked") === "true");
}

function read(e, value) {
  const d = e.dataset;
  if (d.words) {
    const words = JSON.parse(d.words);
    e.textContent = words[String(value)] ?? words["*"] ?? "";
  } else if (typeof value === "number") {
    e.textContent = (value / d.scale).toFixed(d.digits) + " " + d.unit;
  }
}

// controls lets the switches and sliders within an element work.
export function controls(within) {
  within.addEventListener("click", (event) => {
    const button = event.target.closest("[role=switch]");
    if (!button) return;
    const element = button.closest("[data-node]"), endpoint = button.dataset.endpoint;
    const on = button.getAttribute("aria-checked") !== "true";
    invoke(element, endpoint, onOff, on ? command.on : command.off, undefined, () => switched(element, endpoint, on), () => switched(element, endpoint, !on));
  });
  within.addEventListener("change", (event) => {
    const slider = event.target.closest(".level");
    if (!slider) return;
    const element = slider.closest("[data-node]"), endpoint = slider.dataset.endpoint;
    const fields = { 0: Math.max(1, Math.round((slider.value * maxLevel) / 100)), 1: 0, 2: 0, 3: 0 };
    invoke(element, endpoint, level, command.level, fields, () => { switched(element, endpoint, true); levelled(element, endpoint, slider.value); }, () => settle(element));
  });
}

// settle shows what the device itself says, some time after it was told to do
// something: one that is switched by others at the same moment may report nothing.
const settling = new Map();
export function settle(element) {
  const node = element.dataset.node;
  clearTimeout(settling.get(node));
  settling.set(node, setTimeout(async () => {
    const said = await api("GET", `/api/v1/devices/${node}/state`).catch(() => null);
    if (said) show(element, said);
  }, patience));
}

// invoke shows at once what is asked for, and takes it back if it fails.
async function invoke(element, endpoint, cluster, id, fields, begun, failed) {
  begun();
  try {
    await api("POST", `/api/v1/devices/${element.dataset.node}/invoke`, { path: `${endpoint}/${cluster}/${id}`, ...(fields && { fields }) });
    settle(element);
  } catch (err) {
    failed();
    dialog($(".name", element)?.textContent ?? document.title, (end) => [failure(err), h("button", { class: "button", onclick: () => end() }, t("app.done"))]);
  }
}
