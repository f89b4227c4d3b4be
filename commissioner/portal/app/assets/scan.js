// The camera: codes are read in the browser where it can, else on the gateway.
import { t } from "./text.js";
import { ask, Failure } from "./api.js";

// Limits of ours.
const side = 800; // pixels of a frame's longer side
const quality = 0.7; // of its JPEG
const between = 150; // ms between frames, one of which is looked at at a time
const later = 1000; // ms after the gateway had no time

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// read gives the setup codes in a picture, as the gateway finds them.
export const read = async (picture) => (await (await ask("POST", "/api/v1/codes", picture, { type: picture.type })).json()).codes;

// check gives the setup code that a text is.
export const check = async (text) => (await (await ask("POST", "/api/v1/codes", text, { type: "text/plain" })).json()).codes;

// Scanner looks through a camera until it is stopped.
export class Scanner {
  constructor(video, found, says) {
    Object.assign(this, { video, found, says, stream: null });
  }

  async start() {
    if (this.stream) return;
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: "environment", width: { ideal: 1280 } } });
    } catch {
      throw new Failure({ code: "camera-unusable", message: t("js.camera.none") });
    }
    this.video.srcObject = this.stream;
    this.video.hidden = false;
    await this.video.play();
    this.says(t("js.camera.look"));
    this.look(this.stream, await detector());
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
    this.video.hidden = true;
  }

  async look(stream, native) {
    const canvas = document.createElement("canvas"), seen = new Set();
    while (this.stream === stream) {
      await sleep(document.hidden ? later : between);
      if (document.hidden || !this.video.videoWidth) continue;
      try {
        const codes = native ? await this.texts(native, seen) : await read(await frame(this.video, canvas));
        if (codes.length && this.stream === stream) this.found(codes);
      } catch (err) {
        if (err.code !== "pictures-busy") this.says(err.message);
        await sleep(later);
      }
    }
  }

  // texts asks the gateway what the codes are for that the browser read, once.
  async texts(native, seen) {
    const codes = [];
    for (const { rawValue } of await native.detect(this.video)) {
      if (seen.has(rawValue)) continue;
      seen.add(rawValue);
      codes.push(...(await check(rawValue).catch((err) => { this.says(err.message); return []; })));
    }
    return codes;
  }
}

async function detector() {
  const formats = (await globalThis.BarcodeDetector?.getSupportedFormats().catch(() => [])) ?? [];
  return formats.includes("qr_code") ? new BarcodeDetector({ formats: ["qr_code"] }) : null;
}

// frame is what the camera sees now, small and grey.
function frame(video, canvas) {
  const scale = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  const picture = canvas.getContext("2d", { alpha: false });
  picture.filter = "grayscale(1)";
  picture.drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
}
