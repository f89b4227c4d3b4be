import { t } from "./text.js";
import { $, $$ } from "./dom.js";
import { live, controls } from "./live.js";

const later = 1000; // ms
const form = $(".filter");
let list = $("#devices");

// The list is filtered as one types; without this module the gateway does it.
function filter() {
  const words = form.q.value.toLowerCase().split(/\s+/).filter(Boolean);
  const zone = form.zone?.value ?? "", show = form.show.value;
  let count = 0;
  for (const tile of $$(".tile", list)) {
    const d = tile.dataset, attention = !["ok", "away"].includes(d.health);
    const fits = words.every((w) => d.search.includes(w)) && (!zone || d.zone === zone) &&
      (!show || (show === "away" ? tile.classList.contains("away") : attention));
    tile.hidden = !fits;
    count += fits;
  }
  for (const room of $$(".room", list)) room.hidden = !$(".tile:not([hidden])", room);
  $("#nothing").hidden = count > 0;
  $("#found").textContent = t("js.found", { n: count });
}

// refresh takes the list as the gateway makes it now.
async function refresh() {
  if (document.hidden) return document.addEventListener("visibilitychange", refresh, { once: true });
  if ($("input:active", list ?? document)) return setTimeout(refresh, later); // somebody has a finger on it
  const response = await fetch("/", { cache: "no-store" }).catch(() => null);
  if (!response?.ok || response.redirected) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const next = $("#devices", page);
  if (!next && !list) return;
  if (!next || !list) return location.reload(); // the first device, or the last
  const focused = document.activeElement?.closest?.("[data-node]")?.dataset.node;
  const what = document.activeElement?.getAttribute?.("role") === "switch" ? "[role=switch]" : ".name";
  list.replaceWith(next);
  list = next;
  if (focused) $(`[data-node="${focused}"] ${what}`, list)?.focus();
  filter();
}

if (form) {
  form.addEventListener("input", filter);
  form.addEventListener("submit", (e) => { e.preventDefault(); filter(); });
  if (form.q.value || form.zone?.value || form.show.value) {
    history.replaceState(null, "", "/"); // all are loaded, and filtered here
    refresh();
  }
}
controls($("main"));
live((node) => $$(`.tile[data-node="${node}"]`), refresh, () => Number(list?.dataset.index ?? 0));
