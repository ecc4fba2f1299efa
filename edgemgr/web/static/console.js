// What HTML and htmx do not do: the pace of the live parts, the log that follows, theme, and one key.
"use strict";
(() => {
  const TICK_MS = 2000;
  const LOG_LINES_MAX = 3000;
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);

  // Live parts refresh on `tick`: not while the page is hidden, paused, or text in it is being selected.
  const isLive = () => byId("live")?.getAttribute("aria-pressed") === "true";
  const isSelecting = () => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && byId("main").contains(selection.anchorNode);
  };
  const tick = () => {
    if (document.hidden || !isLive() || isSelecting()) return;
    for (const part of document.querySelectorAll("[data-live]")) part.dispatchEvent(new Event("tick"));
  };
  setInterval(tick, TICK_MS);
  document.addEventListener("visibilitychange", tick);

  // The log stays at its end unless somebody scrolled up, and keeps a bounded number of lines.
  const log = byId("log-lines");
  if (log) {
    let follows = true;
    const toEnd = () => {
      while (log.children.length > LOG_LINES_MAX) log.firstElementChild.remove();
      if (follows) log.scrollTop = log.scrollHeight;
    };
    log.addEventListener("scroll", () => {
      follows = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
    });
    new MutationObserver(toEnd).observe(log, { childList: true });
    toEnd();
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("#theme")) {
      const isDark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "")) === "dark";
      root.dataset.theme = isDark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
    }
    const live = event.target.closest("#live");
    if (live) live.setAttribute("aria-pressed", String(!isLive()));
  });

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea, select");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && byId("q")) {
      event.preventDefault();
      byId("q").select();
    }
  });

  // A refresh that gets no answer at all is said once, until one comes.
  document.addEventListener("htmx:error", (event) => {
    if (event.detail?.error?.name !== "AbortError") byId("offline").hidden = false;
  });
  document.addEventListener("htmx:after:request", () => {
    byId("offline").hidden = true;
  });
})();
