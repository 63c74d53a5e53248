// ask.mjs UPLOAD NAME=URL...: a client by node:http2, see ask.sh for what it prints.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:http2";

const [upload, ...servers] = process.argv.slice(2);

function ask(session, name, method, path, body) {
    return new Promise((resolve, reject) => {
        const trailers = Boolean(body) && name !== "nginx";
        const head = { ":method": method, ":path": path, ...(trailers && { trailer: "x-sent" }) };
        const request = session.request(head, { endStream: !body, waitForTrailers: trailers });
        const chunks = [];
        let status, trailer = "";
        request.on("wantTrailers", () => request.sendTrailers({ "x-sent": "it" }));
        request.on("response", head => { status = head[":status"]; });
        request.on("trailers", fields => { trailer = fields["x-trailer"]; });
        request.on("data", chunk => chunks.push(chunk));
        request.on("error", reject);
        request.on("close", () => {
            const got = Buffer.concat(chunks), hash = createHash("sha256").update(got).digest("hex").slice(0, 16);
            resolve(`${name} ${method} ${status} ${session.alpnProtocol} ${got.length} ${hash} ${trailer}`);
        });
        if (body)
            request.end(body);
    });
}

for (const server of servers) {
    const [name, url] = server.split("=");
    const session = connect(url);
    console.log(await ask(session, name, "GET", "/a?node"));
    console.log(await ask(session, name, "POST", "/post/node", readFileSync(upload)));
    session.close();
}
