// matter.js's BDX without its network: node bdx.mjs FILE
//
// {begin, drive} begins a transfer of FILE: it is to "fetch" it, to "give" it,
// or to "serve" it to the message that follows. {opcode, body} is a message, in
// either direction. It says {end} at the end: what went wrong, if anything.
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { BdxInitMessageSchema, BdxMessenger, BdxSession, FileDesignator } from "@matter/main/protocol";
import { say } from "./lines.mjs";

const data = await readFile(process.argv[2]);
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => JSON.parse((await input.next()).value ?? process.exit(0));

// exchange is as much of one as the BDX asks for.
const exchange = {
    session: { isSecure: true },
    closed: { once() {} },
    maxPayloadSize: 1024,
    nextMessage: async () => {
        const { opcode, body } = await next();
        return { payloadHeader: { messageType: opcode, protocolId: opcode === 0x40 ? 0 : 2 }, payload: new Uint8Array(Buffer.from(body, "base64")) };
    },
    send: async (opcode, body) => say({ opcode, body: Buffer.from(body).toString("base64") }),
    close: async () => {},
};

async function transfer({ begin, drive }) {
    const got = [];
    const fileDesignator = Object.assign(new FileDesignator("image"), {
        exists: async () => true,
        openBlob: async () => new Blob([data]),
        writeFromStream: async stream => got.push(Buffer.from(await new Response(stream).arrayBuffer())),
    });
    const options = { fileDesignator, preferredDriverModes: [drive] };
    if (begin === "serve") {
        const { payloadHeader, payload } = await exchange.nextMessage();
        Object.assign(options, { initMessageType: payloadHeader.messageType, initMessage: new BdxInitMessageSchema().decode(payload) });
    }
    const role = { fetch: BdxSession.asReceiver, give: BdxSession.asSender, serve: BdxSession.fromMessage }[begin];
    await role(new BdxMessenger(exchange), options).processTransfer();
    if (begin === "fetch" && !got[0].equals(data)) {
        throw new Error("it fetched another file");
    }
}

for (;;) {
    await transfer(await next()).then(() => say({ end: "" }), e => say({ end: `${e}` }));
}
