// Runs the console's upload.js against a real console, with a few elements for a page and a link that breaks.
// node upload_script.js SCRIPT BASE BREAK_EVERY FILE...
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");
const [script, base, breakEvery, ...names] = process.argv.slice(2);

const element = () => ({ listeners: {}, addEventListener(kind, call) { this.listeners[kind] = call; } });
const elements = {};
const byId = (id) => (elements[id] ??= element());
byId("upload-file").files = names.map((name) =>
  new File([fs.readFileSync(name)], path.basename(name), { lastModified: 5 }));

let sent = 0;
let broken = 0;
const brokenFetch = async (address, options = {}) => {
  if (options.method === "PATCH" && Number(breakEvery) && ++sent % Number(breakEvery) === 0) {
    broken += 1;
    if (broken % 2) throw new TypeError("the link broke before the piece");
    await fetch(base + address, options);
    throw new TypeError("the link broke before the answer");
  }
  return fetch(base + address, options);
};

vm.runInNewContext(fs.readFileSync(script, "utf8"), {
  document: { getElementById: byId, addEventListener() {} }, fetch: brokenFetch, Blob, Date, setTimeout: (call) => setTimeout(call, 1),
});
const event = { preventDefault() {} };
Promise.resolve(byId("upload").listeners.submit(event)).then(() =>
  console.log(JSON.stringify({ note: byId("upload-note").textContent, text: byId("upload-text").textContent, broken })));
