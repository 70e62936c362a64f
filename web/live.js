// Makes the page of a test live: the server sends the elements that have
// changed, and this puts them in their place. Everything works without it, by
// loading the page again.
"use strict";
(() => {
  const page = document.getElementById("live");
  const words = page ? page.dataset : {};
  // The only place where text becomes HTML. It comes from our own server, which
  // has escaped it, and the content policy lets no script in it run.
  const policy = window.trustedTypes ?
    window.trustedTypes.createPolicy("tlsink", { createHTML: text => text }) : { createHTML: text => text };
  const parse = html => {
    const box = document.createElement("template");
    box.innerHTML = policy.createHTML(html);
    return box.content;
  };

  // Buttons that only a script can serve.
  const addButton = (after, label, action) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => action(button));
    after.after(button);
  };
  const enhance = root => {
    if (!page) return;
    for (const source of root.querySelectorAll("[data-copy]:not([data-done])")) {
      if (source === page || !navigator.clipboard) continue;
      source.dataset.done = "";
      addButton(source, words.copy, async button => {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = words.copied;
        setTimeout(() => { button.textContent = words.copy; }, 2000);
      });
    }
    for (const source of root.querySelectorAll(".jump:not([data-done])")) {
      source.dataset.done = "";
      addButton(source.lastElementChild, words.print, () => window.print());
    }
  };

  // Times that are counted down to, by the clock of the server.
  const ahead = page ? Date.parse(words.now) - Date.now() || 0 : 0;
  const left = until => {
    const seconds = Math.round((Date.parse(until) - Date.now() - ahead) / 1000);
    if (seconds <= 0) return words.soon;
    const two = n => String(n).padStart(2, "0");
    const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
    return words.in.replace("{t}", (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(seconds % 60));
  };
  const count = () => {
    for (const time of page.querySelectorAll("time[data-left]")) {
      const text = time.dataset.text || (time.dataset.text = time.textContent);
      time.textContent = text + " (" + left(time.dateTime) + ")";
    }
  };

  // Puts one element in the place of the one with its id, or adds a row where its
  // number belongs, the newest first. What was open stays open, and the focus stays
  // where it was.
  const put = fresh => {
    const old = document.getElementById(fresh.id);
    if (!old) {
      const list = document.getElementById("rows");
      if (fresh.dataset.row && list) {
        fresh.classList.add("new");
        const older = [...list.children].find(row => Number(row.dataset.row) < Number(fresh.dataset.row));
        list.insertBefore(fresh, older || null);
      }
      return;
    }
    const opened = new Set([...old.querySelectorAll("details[open]")].map(d => (d.closest("li[id]") || old).id));
    for (const details of fresh.querySelectorAll("details")) {
      details.open = opened.has((details.closest("li[id]") || fresh).id);
    }
    const focused = old.contains(document.activeElement) && document.activeElement.closest("li[id]");
    const inside = old.contains(document.activeElement);
    if (fresh.matches("#all")) fresh.open = old.open;
    old.replaceWith(fresh);
    if (inside) {
      const row = focused && document.getElementById(focused.id);
      const target = row ? row.querySelector("summary") : fresh.matches("summary") ? fresh : document.getElementById("main");
      if (target) target.focus({ preventScroll: true });
    }
  };
  // Takes away rows that are too old, and those that an older one has taken up,
  // since all of them say the same.
  const sweep = () => {
    const first = Number(document.getElementById("p-count")?.dataset.first || 0);
    let kept = null;
    for (const row of [...document.querySelectorAll("#rows > li")].reverse()) {
      const number = Number(row.dataset.row);
      if (number >= first && !(kept && number <= Number(kept.dataset.last))) {
        kept = row;
        continue;
      }
      if (kept && row.querySelector("details").open) kept.querySelector("details").open = true;
      if (kept && row.contains(document.activeElement)) kept.querySelector("summary").focus({ preventScroll: true });
      row.remove();
    }
  };
  const isDone = () => document.getElementById("p-count")?.dataset.done !== undefined;
  const isRead = list => list.getBoundingClientRect().top < 0 || list.querySelector("li details[open]") !== null || list.contains(document.activeElement);
  const apply = elements => {
    const was = isDone(), read = isRead(document.getElementById("all"));
    for (const element of elements) put(element);
    sweep();
    // With the report the list is closed, as on a page that is loaded then, unless
    // somebody reads it.
    const now = isDone();
    if (now !== was && !(now && read)) document.getElementById("all").open = !now;
    const line = document.getElementById("p-line");
    if (line?.dataset.title) document.title = line.dataset.title + " – tlsink";
    enhance(page);
    count();
  };

  // Follows the test. Where no stream is possible the page is asked for as a
  // whole, less and less often, until one is.
  const follow = () => {
    const lost = document.getElementById("lost");
    let pause = 5;
    const again = () => {
      lost.textContent = words.lost;
      setTimeout(poll, (pause + Math.random() * pause / 2) * 1000);
      pause = Math.min(pause * 2, 60);
    };
    const poll = async () => {
      try {
        const answer = await fetch(location.href, { cache: "no-store" });
        if (answer.status === 404) return location.reload();
        if (!answer.ok) return again();
        const next = parse(await answer.text()).getElementById("live");
        if (!next) return again();
        apply([...next.querySelectorAll(":scope > [id]:not(#lost), .line > [id]")]);
        if (next.dataset.events) listen(next.dataset.events);
      } catch {
        again();
      }
    };
    const listen = address => {
      const events = new EventSource(address);
      events.addEventListener("open", () => { lost.textContent = ""; pause = 5; });
      events.addEventListener("message", event => apply([...parse(event.data).children]));
      events.addEventListener("end", () => events.close());
      events.addEventListener("error", () => {
        if (events.readyState === EventSource.CLOSED) again();
      });
    };
    listen(words.events);
  };

  // Paper can't be opened. Newer browsers have a style for that, which needs no script.
  const printed = open => {
    for (const fold of document.querySelectorAll(open ? ".fold:not([open])" : ".fold[data-printed]")) {
      fold.open = open;
      fold.toggleAttribute("data-printed", open);
    }
  };
  addEventListener("beforeprint", () => printed(true));
  addEventListener("afterprint", () => printed(false));

  if (!page) return;
  enhance(page);
  count();
  setInterval(count, 1000);
  if (words.events) follow();
})();
