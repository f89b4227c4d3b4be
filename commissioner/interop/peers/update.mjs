// What a matter.js controller has to update devices over the air: its own
// provider and update manager, with images from files. They ask no ledger.
import { readFile } from "node:fs/promises";
import { Endpoint } from "@matter/main";
import { OtaSoftwareUpdateProviderServer } from "@matter/main/behaviors/ota-software-update-provider";
import { OtaProviderEndpoint } from "@matter/main/endpoints/ota-provider";
import { DclBehavior, SoftwareUpdateManager } from "@matter/main/node";
import { BdxProtocol, PeerAddress } from "@matter/main/protocol";
import { say, usage } from "./lines.mjs";

const heard = (ota, version, status, token) => say({ ota, version, status, token: Buffer.from(token ?? []).toString("hex") });

// Provider is matter.js's, and tells what it hears from devices.
class Provider extends OtaSoftwareUpdateProviderServer {
    async queryImage(request) {
        const response = await super.queryImage(request);
        heard("query", request.softwareVersion, response.status, response.updateToken);
        return response;
    }

    async applyUpdateRequest(request) {
        const response = await super.applyUpdateRequest(request);
        heard("apply", request.newVersion, response.action, request.updateToken);
        return response;
    }

    async notifyUpdateApplied(request) {
        await super.notifyUpdateApplied(request);
        heard("applied", request.softwareVersion, 0, request.updateToken);
    }
}

let provider;

// update has a device fetch the image in a file, and returns when the manager
// says that it is done: what it took, in all and the transfer alone. The manager
// wants a subscription to the device.
export async function update(controller, node, file) {
    provider ??= await controller.add(new Endpoint(OtaProviderEndpoint.with(Provider), { id: "ota", softwareupdates: { allowTestOtaImages: true } }));
    const image = new Blob([await readFile(file)]);
    const images = controller.behaviors.internalsOf(DclBehavior).otaService;
    const info = await images.updateInfoFromStream(image.stream(), "file:");
    await images.store(image.stream(), info, "local");
    await node.set({ network: { autoSubscribe: true } });

    const began = performance.now();
    const { updateDone, updateFailed } = provider.eventsOf(SoftwareUpdateManager);
    const transfer = {};
    const done = new Promise((resolve, reject) => {
        updateDone.once(resolve);
        updateFailed.once(() => reject(new Error("the update manager says that it failed")));
        controller.env.get(BdxProtocol).sessionStarted.once(session => {
            const start = performance.now();
            const cpu = usage().cpu;
            session.progressFinished.once(bytes => {
                Object.assign(transfer, { ms: performance.now() - start, cpu: usage().cpu - cpu });
                say({ ota: "sent", bytes });
            });
            session.progressCancelled.once(() => reject(new Error(`the transfer broke off after ${session.transferredBytes} octets`)));
        });
    });
    const address = PeerAddress(node.state.commissioning.peerAddress);
    const begin = provider.act(agent => agent.get(SoftwareUpdateManager).forceUpdate(address, info.vid, info.pid, info.softwareVersion));
    await Promise.all([begin, done]);
    return { ms: performance.now() - began, transfer };
}
