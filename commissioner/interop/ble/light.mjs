// A matter.js light that is on no network: it is found over Bluetooth and told
// of a Wi-Fi network, or of a Thread network with --thread. The network is made
// up: joining it runs a command that plugs this host in.
//
//     node light.mjs --join COMMAND [--hci 0] [--ssid hall] [--password correcthorse] [--thread DATASET-HEX]
//                    [--discriminator 3840] [--passcode 20202021]
//     node light.mjs --joined
//
// With --joined it is on the network already and has no Bluetooth.
// It says {ready, qr, manual} and {switched, on}, and obeys fabrics and usage.
// Storage is in MATTER_STORAGE_PATH.
import { execSync } from "node:child_process";
import { parseArgs } from "node:util";
import { Endpoint, Environment, ServerNode, VendorId } from "@matter/main";
import { NetworkCommissioningServer } from "@matter/main/behaviors/network-commissioning";
import { NetworkCommissioning } from "@matter/main/clusters/network-commissioning";
import { OnOffLightDevice } from "@matter/main/devices/on-off-light";
import { Ble } from "@matter/main/protocol";
import { NodeJsBle } from "@matter/nodejs-ble";
import { obey, say, usage } from "../peers/lines.mjs";

const { values: flags } = parseArgs({
    options: {
        join: { type: "string" },
        joined: { type: "boolean", default: false },
        hci: { type: "string", default: "0" },
        ssid: { type: "string", default: "hall" },
        password: { type: "string", default: "correcthorse" },
        thread: { type: "string" },
        discriminator: { type: "string", default: "3840" },
        passcode: { type: "string", default: "20202021" },
        name: { type: "string", default: "light" },
    },
});

if (!flags.joined) {
    Environment.default.vars.set("ble.enable", true);
    Ble.get = (ble => () => ble)(new NodeJsBle({ hciId: Number(flags.hci) }));
}

const { NetworkCommissioningStatus: Status } = NetworkCommissioning;
const hex = bytes => Buffer.from(bytes).toString("hex");
const text = bytes => Buffer.from(bytes).toString();
const kind = flags.thread === undefined ? NetworkCommissioning.Feature.WiFiNetworkInterface : NetworkCommissioning.Feature.ThreadNetworkInterface;

// extendedPanId finds TLV 2 of an operational dataset.
function extendedPanId(dataset) {
    for (let i = 0; i + 1 < dataset.length; i += 2 + dataset[i + 1]) {
        if (dataset[i] === 2) {
            return dataset.slice(i + 2, i + 10);
        }
    }
}

let told; // the credentials

class Radio extends NetworkCommissioningServer.with(kind) {
    scanNetworks() {
        const seen =
            flags.thread === undefined
                ? { wiFiScanResults: [{ security: { wpa2Personal: true }, ssid: Buffer.from(flags.ssid), bssid: Buffer.from("020000000001", "hex"), channel: 6, wiFiBand: 0, rssi: -50 }] }
                : { threadScanResults: [] };
        return { networkingStatus: Status.Success, ...seen };
    }

    #store(networkId) {
        this.state.networks = [{ networkId, connected: false }];
        return { networkingStatus: Status.Success, networkIndex: 0 };
    }

    addOrUpdateWiFiNetwork({ ssid, credentials }) {
        told = text(credentials);
        return this.#store(ssid);
    }

    addOrUpdateThreadNetwork({ operationalDataset }) {
        told = hex(operationalDataset);
        return this.#store(extendedPanId(operationalDataset));
    }

    removeNetwork() {
        this.state.networks = [];
        return { networkingStatus: Status.Success };
    }

    reorderNetwork() {
        return { networkingStatus: Status.Success };
    }

    connectNetwork({ networkId }) {
        let networkingStatus = Status.Success;
        if (flags.thread === undefined && text(networkId) !== flags.ssid) {
            networkingStatus = Status.NetworkNotFound;
        } else if (told !== (flags.thread ?? flags.password)) {
            networkingStatus = Status.AuthFailure;
        } else {
            execSync(flags.join);
            this.state.networks = [{ networkId, connected: true }];
        }
        this.state.lastNetworkingStatus = networkingStatus;
        this.state.lastNetworkId = networkId;
        this.state.lastConnectErrorValue = networkingStatus === Status.Success ? null : 1;
        return { networkingStatus, errorValue: null };
    }
}

const radio = {
    maxNetworks: 1,
    interfaceEnabled: true,
    lastNetworkingStatus: null,
    lastNetworkId: null,
    lastConnectErrorValue: null,
    networks: flags.joined ? [{ networkId: Buffer.from(flags.ssid), connected: true }] : [],
    scanMaxTimeSeconds: 3,
    connectMaxTimeSeconds: 10,
    ...(flags.thread === undefined
        ? { supportedWiFiBands: [NetworkCommissioning.WiFiBand["2G4"]] }
        : { supportedThreadFeatures: { isFullThreadDevice: true }, threadVersion: 4 }),
};

const node = await ServerNode.create(ServerNode.RootEndpoint.with(Radio), {
    id: flags.name,
    network: { port: 5540, ble: !flags.joined },
    commissioning: { passcode: Number(flags.passcode), discriminator: Number(flags.discriminator) },
    productDescription: { name: flags.name, deviceType: OnOffLightDevice.deviceType },
    basicInformation: { vendorName: "matter.js", vendorId: VendorId(0xfff1), productId: 0x8000, productName: flags.name, serialNumber: flags.name, uniqueId: flags.name },
    networkCommissioning: radio,
});
const lamp = await node.add(new Endpoint(OnOffLightDevice, { id: "lamp" }));
lamp.events.onOff.onOff$Changed.on(on => say({ switched: flags.name, number: 1, on }));
await node.start();
const { qrPairingCode: qr, manualPairingCode: manual } = node.state.commissioning.pairingCodes;
say({ ready: flags.name, number: 1, qr, manual });
obey(
    {
        fabrics: () => ({ fabrics: node.state.operationalCredentials.commissionedFabrics }),
        usage,
    },
    () => node.close(),
);
