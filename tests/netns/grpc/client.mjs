// client.mjs PORT PLAIN-PORT TALK FIGURES: calls of every kind; what became of each is a line on stdout. The
// last one sends TALK messages, each when the answer to the one before is there; how long they took in all
// (µs, by one) goes to the file FIGURES.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { grpc, PARROT, http2_sessions } from "./parrot.mjs";

const [port, plain, talk, figures] = process.argv.slice(2);
const Parrot = grpc.makeGenericClientConstructor(PARROT);
const dial = (options = {}) =>
    new Parrot(`localhost:${port}`, grpc.credentials.createSsl(), { "grpc.use_local_subchannel_pool": 1, ...options });
const say = (what, ...words) => console.log(`${what}: ${words.join(" ")}`);
const status_words = ({ code, details }) => `${code} ${grpc.status[code]} '${details}'`;
const metadata_words = metadata => JSON.stringify(Object.fromEntries(Object.entries(metadata?.getMap() ?? {})
    .filter(([name]) => /^(first-|last-)?x-/.test(name))
    .map(([name, value]) => [name, Buffer.isBuffer(value) ? value.toString("hex") : value])));
const sha256 = bytes => createHash("sha256").update(bytes).digest("hex").slice(0, 16);
const words_of = message => (message?.length > 40 ? `${message.length} bytes, sha256 ${sha256(message)}` : `'${message}'`);

// One call with one answer: its answer, status, and metadata.
function ask(client, method, message, { metadata = new grpc.Metadata(), ...options } = {}) {
    return new Promise(resolve => {
        const seen = {};
        const call = client[method](message, metadata, options, (_, answer) => { seen.answer = answer; });
        call.on("metadata", first => { seen.first = first; });
        call.on("status", status => setImmediate(() => resolve({ ...seen, status })));
    });
}
// A call with many answers: how many there were, of how many bytes, and the status.
function listen(call, on_message = () => {}) {
    return new Promise(resolve => {
        let messages = 0, bytes = 0;
        call.on("data", message => { messages += 1; bytes += message.length; on_message(message, messages); });
        call.on("error", () => {});
        call.on("status", status => setImmediate(() => resolve(`${messages} messages, ${bytes} bytes, ${status_words(status)}`)));
    });
}
// Sends each of the messages when the answer to the one before is there.
function in_turn(client, messages, before = async () => {}) {
    const call = client.Talk();
    let wrong = 0;
    const done = listen(call, async (message, n) => {
        if (!message.equals(messages[n - 1]))
            wrong += 1;
        await before(n);
        if (n < messages.length)
            call.write(messages[n]);
        else
            call.end();
    });
    call.write(messages[0]);
    return done.then(words => `${words}, ${wrong} wrong`);
}
const numbered = (count, size) => Array.from({ length: count }, (_, n) => Buffer.from(String(n).padEnd(size, ".")));

const client = dial();

const metadata = new grpc.Metadata();
metadata.set("x-word", "a word");
metadata.set("x-raw-bin", Buffer.from([0, 10, 13, 127, 128, 255]));
const echo = await ask(client, "Echo", Buffer.from("hello"), { metadata });
say("unary", words_of(echo.answer), status_words(echo.status));
say("unary, first metadata", metadata_words(echo.first));
say("unary, last metadata", metadata_words(echo.status.metadata));
say("unary, nothing in it", words_of((await ask(client, "Echo", Buffer.alloc(0))).answer));

say("client streaming", await new Promise(resolve => {
    const call = client.Collect((error, answer) => resolve(error ?? words_of(answer)));
    for (let n = 0; n < 100; n++)
        call.write(Buffer.alloc(n));
    call.end();
}));
say("server streaming", await listen(client.Produce(Buffer.from("100 0"))));
say("bidirectional", await in_turn(client, numbered(5, 10)));

for (const code of [5, 13, 16]) {
    const failed = await ask(client, "Fail", Buffer.from(String(code)));
    say("error", status_words(failed.status), metadata_words(failed.status.metadata));
}
say("error behind messages", await listen(client.Produce(Buffer.from("3 10"))));
say("no such method", status_words((await ask(client, "Missing", Buffer.alloc(7))).status).replace(/'.*/, ""));
say("deadline", status_words((await ask(client, "Wait", Buffer.from("for ever"), { deadline: Date.now() + 300 })).status)
    .replace(/'.*/, ""));
const endless = client.Produce(Buffer.from("0 0"));
say("cancel", (await listen(endless, (_, n) => n === 10 && endless.cancel())).replace(/^.*bytes, /, ""));

const large = Buffer.from(Array.from({ length: 1 << 22 }, (_, n) => (n * 2654435761) >>> 24));
say("4 MB", words_of((await ask(client, "Echo", large)).answer));
say("100 at once", (await Promise.all(numbered(100, 1000).map(async message =>
    (await ask(client, "Echo", message)).answer.equals(message)))).filter(Boolean).length);
const zipping = dial({ "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip });
const parrots = Buffer.alloc(100000, "parrot ");
say("gzip", words_of((await ask(zipping, "Echo", parrots)).answer), `asked with ${gzipSync(parrots).length}`);
zipping.close();

// An idle call is kept by PINGs; a PING without an answer for 10 s would end it.
let session, pings = 0, answered;
http2_sessions.on("session", made => { session = made; });
const third = new Promise(resolve => { answered = resolve; });
const kept = dial({ "grpc.keepalive_time_ms": 50, "grpc.keepalive_timeout_ms": 10000 });
say("kept alive", await in_turn(kept, numbered(2, 10), async n => {
    if (n !== 1)
        return;
    const ping = session.ping;
    session.ping = (...args) => {
        const back = args.pop();
        return ping.call(session, ...args, (error, ...more) => {
            if (!error && ++pings === 3)
                answered();
            back(error, ...more);
        });
    };
    await third;
}));
kept.close();

// Libraries of other languages measure the way by a PING to each message that comes, at once.
let answers = 0;
const measured = dial();
say("measured", await in_turn(measured, numbered(2500, 10), async () => { session.ping(error => { answers += !error; }); }));
say("measured, PINGs answered", answers);
measured.close();

const unencrypted = new Parrot(`127.0.0.1:${plain}`, grpc.credentials.createInsecure());
say("without TLS", words_of((await ask(unencrypted, "Echo", Buffer.from("in the clear"))).answer));
unencrypted.close();

const began = process.hrtime.bigint();
say("in turn", await in_turn(client, numbered(Number(talk), 100)));
writeFileSync(figures, `${Number(process.hrtime.bigint() - began) / 1000 / talk}\n`);
client.close();
