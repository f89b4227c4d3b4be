// What the peers share: they say one JSON object a line on standard output,
// obey one a line from standard input, and end with it.
import { createInterface } from "node:readline";

// matter.js logs to where we speak.
console.log = console.info = console.debug = console.error;

export const say = what => process.stdout.write(JSON.stringify(what) + "\n");

// obey runs the command {id, do, …} by its name and says {id, …result} or
// {id, error}. Commands may overlap.
export function obey(commands, end) {
    const input = createInterface({ input: process.stdin });
    input.on("line", async line => {
        const { id, do: name, ...args } = JSON.parse(line);
        try {
            say({ id, ...(await commands[name](args)) });
        } catch (e) {
            say({ id, error: `${e?.constructor?.name}: ${e?.message ?? e}`, cause: e?.cause?.message });
        }
    });
    input.on("close", async () => {
        await end?.();
        process.exit(0);
    });
}

// usage is what this process cost so far: CPU in ms, resident memory in bytes.
export function usage() {
    const { user, system } = process.cpuUsage();
    return { cpu: (user + system) / 1000, rss: process.memoryUsage.rss() };
}
