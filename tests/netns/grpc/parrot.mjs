// parrot: the service that server.mjs and client.mjs share: messages are bytes, as they are. Node's http2 is
// wrapped before gRPC loads it, for what gRPC does not tell: its sessions.
import { EventEmitter } from "node:events";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.MODULES}/`);
const http2 = require("node:http2");

export const http2_sessions = new EventEmitter();
const found = session => http2_sessions.emit("session", session);
function noticing(name, notice) {
    const make = http2[name];
    http2[name] = (...args) => {
        const made = make(...args);
        notice(made);
        return made;
    };
}
for (const name of ["createServer", "createSecureServer"])
    noticing(name, server => server.on("session", found));
noticing("connect", found);

export const grpc = require("@grpc/grpc-js");

const as_it_is = bytes => bytes;
const method = (name, requestStream, responseStream) => [name, {
    path: `/test.v1.Parrot/${name}`, requestStream, responseStream,
    requestSerialize: as_it_is, requestDeserialize: as_it_is,
    responseSerialize: as_it_is, responseDeserialize: as_it_is,
}];
export const PARROT = Object.fromEntries([
    method("Echo", false, false),     // answers with what it was asked
    method("Collect", true, false),   // how many messages and bytes came
    method("Produce", false, true),   // "N STATUS": messages of 0 to N - 1 bytes, then this status; without N no end
    method("Talk", true, true),       // answers each message with itself, at once
    method("Fail", false, false),     // fails with the status it is asked for
    method("Wait", false, false),     // never answers
    method("Missing", false, false),  // the server has none
]);
