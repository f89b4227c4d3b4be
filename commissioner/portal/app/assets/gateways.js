import { t, has } from "./text.js";
import { $, h, failure } from "./dom.js";
import { stream } from "./api.js";

// A new gateway is let in by the code that it shows.
$("#enrol")?.addEventListener("submit", async (e) => {
  e.preventDefault();
  const form = e.target, button = $("button", form), says = $("#enrolling");
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("js.pairing") }), now = h("p", {}, t("js.begins"));
  says.replaceChildren(bar, now);
  button.disabled = true;
  try {
    await stream("POST", "/api/v1/gateways", { code: form.elements.code.value.trim() }, (line) => {
      if (line.enrolled || line.state !== "started") return;
      bar.max = line.of;
      bar.value = line.step - 1;
      now.textContent = has("step." + line.name) ? t("step." + line.name) : line.name;
    });
    location.assign("/gateways");
  } catch (err) {
    says.replaceChildren(failure(err));
    button.disabled = false;
  }
});
