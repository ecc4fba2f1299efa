// Sends a bundle in pieces. After any break it asks how far the appliance is, and goes on from there.
"use strict";
(() => {
  const ADDRESS = "/api/v1/bundle-uploads";
  const WAIT_MS = [500, 1000, 2000, 5000];
  const byId = (id) => document.getElementById(id);
  const [form, input, send, pause] = ["upload", "upload-file", "upload-send", "upload-pause"].map(byId);
  let paused = false;

  const size = (bytes) => (bytes < 1 << 30 ? `${(bytes / (1 << 20)).toFixed(1)} MiB` : `${(bytes / (1 << 30)).toFixed(2)} GiB`);
  const note = (text) => {
    byId("upload-note").textContent = text;
  };
  const show = (offset, total, began) => {
    byId("upload-progress").hidden = false;
    byId("upload-bar").value = offset / total;
    const seconds = (Date.now() - began.at) / 1000;
    const speed = seconds > 1 ? `, ${size((offset - began.offset) / seconds)} a second` : "";
    byId("upload-text").textContent = `${size(offset)} of ${size(total)}${speed}`;
  };

  // The parts of a split bundle are sent as the one file that they are; their list is not part of it.
  const chosen = () => {
    const files = [...input.files].filter((file) => !file.name.endsWith(".parts"));
    files.sort((one, other) => (one.name < other.name ? -1 : 1));
    return {
      body: new Blob(files),
      name: (files[0]?.name ?? "").replace(/\.001$/, ""),
      modified: Math.max(0, ...files.map((file) => file.lastModified)),
    };
  };

  class Refused extends Error {}
  const ask = async (path, options) => {
    const answer = await fetch(ADDRESS + path, options);
    const said = answer.status === 204 ? {} : await answer.json();
    if (answer.ok) return said;
    if (answer.status === 409 && ["E-BUNDLE-OFFSET", "E-BUNDLE-BUSY"].includes(said.code)) throw new Error(said.detail);
    if (answer.status >= 500) throw new Error(said.detail);
    throw new Refused(`${said.detail} ${said.hint ?? ""} (${said.code ?? answer.status})`);
  };
  const begin = (file) =>
    ask("", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name: file.name, size_bytes: file.body.size, modified_ms: file.modified }),
    });
  const piece = (file, upload) =>
    ask(`/${upload.id}`, {
      method: "PATCH",
      headers: { "Content-Type": "application/octet-stream", "Upload-Offset": String(upload.offset) },
      body: file.body.slice(upload.offset, upload.offset + upload.piece_bytes),
    });

  const run = async (file) => {
    let upload = await begin(file);
    let failures = 0;
    const began = { at: Date.now(), offset: upload.offset };
    while (upload.state === "receiving" && !paused) {
      show(upload.offset, upload.size_bytes, began);
      try {
        upload = await piece(file, upload);
        failures = 0;
        note("Sending. This page must stay open until all of it is sent.");
      } catch (fault) {
        if (fault instanceof Refused) throw fault;
        note(`Broken off (${fault.message}); trying again.`);
        await new Promise((resolve) => setTimeout(resolve, WAIT_MS[Math.min(failures++, WAIT_MS.length - 1)]));
        upload = await ask(`/${upload.id}`).catch((again) => {
          if (again instanceof Refused) throw again;
          return upload;
        });
      }
    }
    show(upload.offset, upload.size_bytes, began);
    note(paused ? "Paused. Upload the same file again to go on." : "All of it is sent; its import is shown below.");
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = chosen();
    if (!file.body.size) return note("Choose a bundle.");
    paused = false;
    send.disabled = true;
    pause.hidden = false;
    try {
      await run(file);
    } catch (fault) {
      note(fault.message);
    } finally {
      send.disabled = false;
      pause.hidden = true;
    }
  });
  // The list refreshes itself: its buttons come and go.
  document.addEventListener("click", (event) => {
    const id = event.target.closest("[data-discard]")?.dataset.discard;
    if (id) ask(`/${id}`, { method: "DELETE" }).then(() => note("Discarded."), (fault) => note(fault.message));
  });
  pause.addEventListener("click", () => {
    paused = true;
  });
})();
