// A matter.js controller. Storage is in MATTER_STORAGE_PATH.
//
// It says {started} when it is ready, and {report, path, value} whenever a
// subscription brings something. It obeys the commands at the end of this
// file; devices are known by the name given to commission. Times are in ms.
import { ServerNode } from "@matter/main";
import { ControllerCommissioningFlow, Invoke, Peer, Read, SessionManager, Subscribe, Write } from "@matter/main/protocol";
import { ManualPairingCodeCodec, QrPairingCodeCodec } from "@matter/main/types";
import { OnOff } from "@matter/main/clusters/on-off";
import { BasicInformation } from "@matter/main/clusters/basic-information";
import { obey, say, usage } from "./lines.mjs";

const controller = await ServerNode.create({
    id: "controller",
    network: { port: 0 },
    commissioning: { enabled: false },
    controller: { adminFabricLabel: "matter.js" },
});
await controller.start();
say({ started: true });

const devices = new Map();

function device(name) {
    const node = devices.get(name);
    if (node === undefined) {
        throw new Error(`no device ${name}`);
    }
    return node;
}

// hurry lifts the limits that matter.js puts on devices it knows too little of.
const hurry = request => ({ ...request, network: "unlimited" });

const peer = name => device(name).env.get(Peer);

// timedFlow is the commissioning as matter.js does it, with a clock beside it.
function timedFlow(steps, done) {
    return class extends ControllerCommissioningFlow {
        async executeCommissioning() {
            steps.begin = performance.now();
            for (const step of this.commissioningSteps) {
                const { stepLogic } = step;
                step.stepLogic = async () => {
                    const began = performance.now();
                    try {
                        return await stepLogic();
                    } finally {
                        steps[step.name] = performance.now() - began;
                        if (step.name === "GeneralCommissioning.Complete") {
                            done();
                        }
                    }
                };
            }
            await super.executeCommissioning();
        }
    };
}

// commission pairs a device; bare leaves out what is not pairing.
async function commission({ name, code, bare = false }) {
    const began = performance.now();
    const cpu = usage().cpu;
    const steps = {};
    let found, complete, paired;
    const added = () => (found ??= performance.now());
    controller.peers.added.on(added);
    try {
        const { passcode, discriminator, shortDiscriminator } = code.startsWith("MT:")
            ? QrPairingCodeCodec.decode(code)[0]
            : ManualPairingCodeCodec.decode(code);
        const node = await controller.peers.commission({
            passcode,
            ...(discriminator === undefined ? { shortDiscriminator } : { longDiscriminator: discriminator }),
            autoSubscribe: false,
            autoStateInitialize: !bare,
            commissioningFlowImpl: timedFlow(steps, () => {
                complete = performance.now();
                paired = usage().cpu;
            }),
        });
        devices.set(name, node);
    } finally {
        controller.peers.added.off(added);
    }
    const { begin, ...flow } = steps;
    return {
        ms: complete - began,
        returned: performance.now() - began,
        cpu: paired - cpu,
        cpuReturned: usage().cpu - cpu,
        steps: { discovery: found - began, pase: begin - found, ...flow },
    };
}

// read reads attributes, each part of a path a number or null for all.
async function read({ name, paths }) {
    const attributes = paths.map(([endpointId, clusterId, attributeId]) => ({
        endpointId: endpointId ?? undefined,
        clusterId: clusterId ?? undefined,
        attributeId: attributeId ?? undefined,
    }));
    const began = performance.now();
    const values = [];
    const request = { ...hurry(Read({ attributes })), includeKnownVersions: true };
    for await (const chunk of peer(name).interaction.read(request)) {
        for await (const { path, value, status } of chunk) {
            const at = `${path.endpointId}/${path.clusterId}/${path.attributeId}`;
            values.push(status === undefined ? { path: at, value: plain(value) } : { path: at, status });
        }
    }
    return { values, ms: performance.now() - began };
}

// plain makes JSON of what has none.
const plain = value =>
    value === undefined ? null : JSON.parse(JSON.stringify(value, (_, v) => (typeof v === "bigint" ? v.toString() : v)));

// invoke sends a command in a message of its own.
async function invoke(name, command) {
    const request = { ...Invoke({ commands: [{ endpoint: 1, cluster: OnOff, command }] }), batchDuration: false };
    for await (const chunk of peer(name).interaction.invoke(hurry(request))) {
        for (const entry of chunk) {
            if (entry.kind === "cmd-status" && entry.status !== 0) {
                throw new Error(`${command}: status ${entry.status}`);
            }
        }
    }
}

const readOnOff = Read({ attributes: [{ endpointId: 1, clusterId: OnOff.id, attributeId: 0 }] });

async function readOnce(name) {
    for await (const chunk of peer(name).interaction.read(hurry(readOnOff))) {
        for await (const { status } of chunk) {
            if (status !== undefined) {
                throw new Error(`read: status ${status}`);
            }
        }
    }
}

// storm does one thing many times, some of them at once.
async function storm({ times, inflight = 1 }, once) {
    const began = performance.now();
    const cpu = usage().cpu;
    let left = times;
    await Promise.all(
        Array.from({ length: inflight }, async () => {
            while (left-- > 0) {
                await once();
            }
        }),
    );
    return { ms: performance.now() - began, cpu: usage().cpu - cpu };
}

// connect opens a session, after those there were are closed on both sides.
// full does it without the memory of the former ones.
async function connect({ name, full = false }) {
    const p = peer(name);
    const sessions = controller.env.get(SessionManager);
    for (const session of [...sessions.sessionsFor(p.address)]) {
        await session.initiateClose();
    }
    if (full) {
        await sessions.deleteResumptionRecord(p.address);
    }
    const began = performance.now();
    const cpu = usage().cpu;
    await p.connect();
    return { ms: performance.now() - began, cpu: usage().cpu - cpu };
}

async function subscribe({ name, path: [endpointId, clusterId, attributeId], max = 60 }) {
    const began = performance.now();
    const updated = async data => {
        for await (const chunk of data) {
            for await (const { path, value } of chunk) {
                say({ report: name, path: `${path.endpointId}/${path.clusterId}/${path.attributeId}`, value: plain(value) });
            }
        }
    };
    const request = Subscribe({
        keepSubscriptions: true,
        minIntervalFloor: 0,
        maxIntervalCeiling: max * 1000,
        attributes: [{ endpointId, clusterId, attributeId }],
    });
    await peer(name).interaction.subscribe({ ...hurry(request), updated });
    return { ms: performance.now() - began };
}

obey(
    {
        commission,
        read,
        invoke: async ({ name, command }) => (await invoke(name, command), {}),
        subscribe,
        connect,
        reads: ({ name, ...how }) => storm(how, () => readOnce(name)),
        invokes: ({ name, ...how }) => storm(how, () => invoke(name, "toggle")),
        label: async ({ name, label }) => {
            await peer(name).interaction.write(Write(Write.Attribute({ endpoint: 0, cluster: BasicInformation, attributes: ["nodeLabel"], value: label })));
            return {};
        },
        remove: async ({ name }) => {
            await device(name).decommission();
            devices.delete(name);
            return {};
        },
        update: async ({ name, file }) => (await import("./update.mjs")).update(controller, device(name), file),
        usage,
    },
    () => controller.close(),
);
