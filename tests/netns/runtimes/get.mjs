// get.mjs WAY URL [FILE]: prints what is at URL; trusts what is in FILE alone, if one is named. WAY:
// https, fetch or http2.
import { readFileSync } from "node:fs";
import { connect } from "node:http2";
import { get } from "node:https";

const [way, url, roots] = process.argv.slice(2);
function fail(error) {
    console.error(String(error.cause ?? error));
    process.exitCode = 1;
}
if (way === "fetch")
    fetch(url).then(answer => answer.text()).then(body => process.stdout.write(body)).catch(fail);
else if (way === "http2") {
    const session = connect(url).on("error", fail);
    const request = session.request({ ":path": new URL(url).pathname });
    request.on("close", () => session.close()).on("error", () => {}).pipe(process.stdout); // the session's error says why
} else
    get(url, roots ? { ca: readFileSync(roots) } : {}, answer => answer.pipe(process.stdout)).on("error", fail);
