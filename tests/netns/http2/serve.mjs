// serve.mjs PORT KEY CERT: as `http2.go serve`.
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const [port, key, cert] = process.argv.slice(2);
const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert), allowHTTP1: true });
server.on("request", async (request, answer) => {
    const chunks = [];
    for await (const chunk of request)
        chunks.push(chunk);
    console.log(request.method, request.url, `HTTP/${request.httpVersion}`, `sent=${request.trailers["x-sent"] ?? ""}`);
    answer.writeHead(200);
    answer.addTrailers({ "x-trailer": "done" });
    answer.end(request.method === "POST" ? Buffer.concat(chunks) : readFileSync("a"));
});
server.listen(Number(port), "127.0.0.1");
