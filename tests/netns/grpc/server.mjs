// server.mjs PORT PLAIN-PORT KEY CERT: a gRPC server on 127.0.0.1. A line on stdout for each thing that it
// alone sees.
import { readFileSync } from "node:fs";
import { grpc, PARROT, http2_sessions } from "./parrot.mjs";

const [port, plain, key, cert] = process.argv.slice(2);
const say = words => console.log(words);

// What came in the request's metadata goes back in the answer's, before and behind the messages.
function answer_metadata(call) {
    const first = new grpc.Metadata(), last = new grpc.Metadata();
    for (const [name, value] of Object.entries(call.metadata.getMap()))
        if (name.startsWith("x-")) {
            first.set(`first-${name}`, value);
            last.set(`last-${name}`, value);
        }
    call.sendMetadata(first);
    return last;
}

function produce(call) {
    const [count, code] = call.request.toString().split(" ").map(Number);
    let n = 0, done = false;
    call.on("cancelled", () => done || say("Produce: cancelled"));
    const more = () => {
        if (call.cancelled || done)
            return;
        while (n < (count || Infinity))
            if (!call.write(Buffer.alloc(count ? n++ : 1000)))
                return;
        done = true;
        if (code)
            call.emit("error", { code, details: "as was asked" });
        else
            call.end();
    };
    call.on("drain", more);
    more();
}

const implementation = {
    Echo: (call, done) => done(null, call.request, answer_metadata(call)),
    Collect: (call, done) => {
        let messages = 0, bytes = 0;
        call.on("data", message => { messages += 1; bytes += message.length; });
        call.on("end", () => done(null, Buffer.from(`${messages} ${bytes}`)));
    },
    Produce: produce,
    Talk: call => {
        call.on("data", message => call.write(message));
        call.on("end", () => call.end());
    },
    Fail: (call, done) => {
        const metadata = new grpc.Metadata();
        metadata.set("x-why", "it was asked to");
        done({ code: Number(call.request.toString()), details: "no such thing: Käse, 100 %", metadata });
    },
    Wait: call => {
        const left = call.getDeadline() === Infinity ? "none" : call.getDeadline() > new Date() ? "ahead" : "over";
        say(`Wait: deadline ${left}`);
        call.on("cancelled", () => say("Wait: cancelled"));
    },
};

const { Missing, ...offered } = PARROT;
const server = new grpc.Server();
server.addService(offered, implementation);
const secure = grpc.ServerCredentials.createSsl(null, [{ private_key: readFileSync(key), cert_chain: readFileSync(cert) }]);
const bind = (port, credentials) => new Promise((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${port}`, credentials, error => (error ? reject(error) : resolve())));
await bind(port, secure);
await bind(plain, grpc.ServerCredentials.createInsecure());
http2_sessions.on("session", session => {
    say(`session ${session.alpnProtocol}`);
    session.on("ping", () => say("ping"));
    session.on("stream", (stream, head) => stream.on("close", () => {
        if (stream.rstCode)
            say(`${head[":path"].split("/").pop()}: reset with ${stream.rstCode}`);
    }));
});
say("ready");
