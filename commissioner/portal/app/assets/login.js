import { $, failure } from "./dom.js";
import { api } from "./api.js";
import { possible, use } from "./passkey.js";

if (possible()) {
  $("#by-passkey").hidden = false;
  $("#passkey").addEventListener("click", async () => {
    try {
      await api("POST", "/api/v1/login/passkey", await use(await api("POST", "/api/v1/login/passkey/question", {})));
      location.assign($("[name=next]").value);
    } catch (err) {
      $("#failure").replaceChildren(failure(err));
    }
  });
}
