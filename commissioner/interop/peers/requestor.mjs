// What a matter.js light has to be updated over the air: its own requestor,
// which asks at once where it would wait for up to ten minutes, says what it
// got, and installs it as one that is switched off and on.
import { createHash } from "node:crypto";
import { Millis } from "@matter/main";
import { OtaSoftwareUpdateRequestorServer } from "@matter/main/behaviors/ota-software-update-requestor";
import { say, usage } from "./lines.mjs";

export class Requestor extends OtaSoftwareUpdateRequestorServer {
    async initialize() {
        await super.initialize();
        this.reactTo(this.events.updateState$Changed, this.#tell);
        this.reactTo(this.events.downloadError, e => say({ broken: e.softwareVersion, bytes: Number(e.bytesDownloaded), code: Number(e.platformCode) }));
    }

    async announceOtaProvider(request) {
        await super.announceOtaProvider(request);
        const timer = this.internal.updateQueryTimer;
        timer.stop();
        timer.interval = Millis(1);
        timer.start();
    }

    #tell(state) {
        say({ updating: state, ms: performance.now(), cpu: usage().cpu });
    }

    async applyUpdate(version, file) {
        const image = Buffer.from(await (await file.openBlob()).arrayBuffer());
        say({ installed: version, bytes: image.length, digest: createHash("sha256").update(image).digest("hex") });
        const node = this.endpoint;
        setTimeout(() => restart(node, version), 0); // once this is behind us
    }
}

async function restart(node, version) {
    await node.cancel();
    await node.set({ basicInformation: { softwareVersion: version, softwareVersionString: `${version}.0` } });
    await node.start();
}
