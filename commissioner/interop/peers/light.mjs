// One or several matter.js lights in one process.
//
//     node light.mjs [--count 1] [--name light] [--discriminator 3840] [--passcode 20202021] [--port 5540] [--rich] [--updatable] [--sleepy]
//
// The n-th light has the discriminator, the passcode and the port after those
// of the one before. --rich adds endpoints, for longer reports; --updatable has
// lights run version 1, and others over the air; --sleepy says that they may
// sleep for long, which they do when they are told to. Storage is in
// MATTER_STORAGE_PATH: killed and started anew with the same one, a light is
// the same.
//
// It says {ready, number, qr, manual} for each light, {switched, on} whenever
// one is switched, and {updating, ms, cpu} and {installed, bytes, digest} as one
// is updated. It obeys press {number}, fabrics {number}, wake {number} and usage.
import { parseArgs } from "node:util";
import { Endpoint, ServerNode, VendorId } from "@matter/main";
import { DimmableLightDevice } from "@matter/main/devices/dimmable-light";
import { OnOffLightDevice } from "@matter/main/devices/on-off-light";
import { TemperatureSensorDevice } from "@matter/main/devices/temperature-sensor";
import { IcdManagementServer } from "@matter/main/behaviors/icd-management";
import { IcdManagement } from "@matter/main/clusters/icd-management";
import { PeerAddress, PeerSet } from "@matter/main/protocol";
import { obey, say, usage } from "./lines.mjs";

const { values: flags } = parseArgs({
    options: {
        count: { type: "string", default: "1" },
        name: { type: "string", default: "light" },
        discriminator: { type: "string", default: "3840" },
        passcode: { type: "string", default: "20202021" },
        port: { type: "string", default: "5540" },
        rich: { type: "boolean", default: false },
        updatable: { type: "boolean", default: false },
        sleepy: { type: "boolean", default: false },
    },
});

let type = ServerNode.RootEndpoint;
if (flags.updatable) {
    type = type.with((await import("./requestor.mjs")).Requestor);
}
const Sleeper = IcdManagementServer.with(IcdManagement.Feature.CheckInProtocolSupport, IcdManagement.Feature.LongIdleTimeSupport);
if (flags.sleepy) {
    type = type.with(Sleeper);
}

async function light(i) {
    const name = `${flags.name}-${i + 1}`;
    const node = await ServerNode.create(type, {
        id: name,
        network: { port: Number(flags.port) + i },
        commissioning: { passcode: Number(flags.passcode) + i, discriminator: (Number(flags.discriminator) + i) % 4096 },
        productDescription: { name, deviceType: OnOffLightDevice.deviceType },
        basicInformation: {
            vendorName: "matter.js",
            vendorId: VendorId(0xfff1),
            productId: 0x8000,
            productName: name,
            serialNumber: name,
            uniqueId: name,
            ...(flags.updatable && { softwareVersion: 1, softwareVersionString: "1.0" }),
        },
        ...(flags.sleepy && {
            icdManagement: {
                idleModeDuration: 300,
                maximumCheckInBackoff: 300,
                activeModeDuration: 5000,
                activeModeThreshold: 5000,
                operatingMode: IcdManagement.OperatingMode.Sit,
            },
        }),
    });
    const lamp = await node.add(new Endpoint(OnOffLightDevice, { id: "lamp" }));
    if (flags.rich) {
        for (let n = 0; n < 4; n++) {
            await node.add(new Endpoint(DimmableLightDevice, { id: `dim${n}` }));
            await node.add(new Endpoint(TemperatureSensorDevice, { id: `temperature${n}`, temperatureMeasurement: { measuredValue: 2150 + n } }));
        }
    }
    lamp.events.onOff.onOff$Changed.on(on => say({ switched: name, number: i + 1, on }));
    await node.start();
    const { qrPairingCode: qr, manualPairingCode: manual } = node.state.commissioning.pairingCodes;
    say({ ready: name, number: i + 1, qr, manual });
    return { node, lamp };
}

const lights = [];
for (let i = 0; i < Number(flags.count); i++) {
    lights.push(await light(i));
}
obey(
    {
        async press({ number = 1 }) {
            const { lamp } = lights[number - 1];
            const on = !lamp.state.onOff.onOff;
            await lamp.set({ onOff: { onOff: on } });
            return { on };
        },
        fabrics({ number = 1 }) {
            return { fabrics: lights[number - 1].node.state.operationalCredentials.commissionedFabrics };
        },
        // wake has a light wake up, and gives the number of its last check-in.
        async wake({ number = 1 }) {
            const { node } = lights[number - 1];
            // matter.js checks in only with nodes that it has had a session with:
            // others are looked up here.
            for (const { fabricIndex, checkInNodeId: nodeId } of node.state.icdManagement.registeredClients) {
                const peer = node.env.get(PeerSet).addKnownPeer({ address: PeerAddress({ fabricIndex, nodeId }) });
                for await (const { kind, address } of peer.service.addressChanges({ abort: AbortSignal.timeout(5000) })) {
                    if (kind === "add") {
                        peer.descriptor.operationalAddress = { ...address, type: "udp" };
                        break;
                    }
                }
            }
            await node.act(agent => {
                agent.get(Sleeper).enterIdleMode();
                agent.get(Sleeper).requestActiveMode();
            });
            return { counter: node.state.icdManagement.icdCounter };
        },
        usage,
    },
    () => Promise.all(lights.map(({ node }) => node.close())),
);
