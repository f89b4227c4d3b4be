// Passkeys, whose questions and answers are JSON with base64url in it.
import { t } from "./text.js";
import { Failure } from "./api.js";

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) => buffer && btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const listed = (list) => (list ?? []).map((c) => ({ ...c, id: bytes(c.id) }));

// possible tells whether this browser lets this page use passkeys: never where
// it is opened by a number.
export const possible = () => "PublicKeyCredential" in window && !/^[\d.]+$|^\[/.test(location.hostname);

const none = (err) => {
  console.info(err);
  return new Failure({ code: "passkey-not-used", message: t("js.passkey.none"), remedy: t("js.passkey.none.do") });
};

// use answers a question with a passkey that there is.
export async function use({ publicKey }) {
  const c = await navigator.credentials.get({ publicKey: { ...publicKey, challenge: bytes(publicKey.challenge), allowCredentials: listed(publicKey.allowCredentials) } })
    .catch((err) => { throw none(err); });
  const r = c.response;
  return answer(c, { authenticatorData: text(r.authenticatorData), signature: text(r.signature), userHandle: text(r.userHandle) });
}

// make answers one with a new passkey.
export async function make({ publicKey }) {
  const c = await navigator.credentials.create({ publicKey: { ...publicKey, challenge: bytes(publicKey.challenge),
    user: { ...publicKey.user, id: bytes(publicKey.user.id) }, excludeCredentials: listed(publicKey.excludeCredentials) } })
    .catch((err) => { throw none(err); });
  return answer(c, { attestationObject: text(c.response.attestationObject), transports: c.response.getTransports?.() ?? [] });
}

const answer = (c, response) => ({
  id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(),
  ...(c.authenticatorAttachment && { authenticatorAttachment: c.authenticatorAttachment }),
  response: { clientDataJSON: text(c.response.clientDataJSON), ...response },
});
