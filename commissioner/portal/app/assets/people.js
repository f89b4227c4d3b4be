import { $, $$, times } from "./dom.js";

// An invitation is shown once, to be scanned by whom it is for.
for (const form of $$("form[data-invite]")) {
  form.addEventListener("answer", ({ detail }) => {
    const box = $("#invitation");
    $(".qr", box).src = detail.picture ?? "data:,";
    $("#link").textContent = detail.link ?? "";
    const ends = $("#ends");
    ends.dateTime = detail.ends;
    times(box);
    box.hidden = false;
    box.scrollIntoView({ block: "center" });
  });
}
