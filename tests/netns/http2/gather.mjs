// gather.mjs PORT KEY CERT N: an HTTP/2 server on 127.0.0.1 that answers only when N streams of one connection
// are open at once: then all of them.
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const [port, key, cert, count] = process.argv.slice(2);
const settings = { maxConcurrentStreams: Number(count) };
const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert), settings });
server.on("session", session => {
    const open = [];
    session.on("stream", stream => {
        if (open.push(stream) < count)
            return;
        console.log(open.length);
        for (const each of open.splice(0))
            each.respond({ ":status": 200 }, { endStream: true });
    });
});
server.listen(Number(port), "127.0.0.1");
