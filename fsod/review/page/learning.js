// "Learn from these": starts a round, shows how far it is, and says when there are new detections.

const find = (selector) => document.querySelector(selector);
const EVERY_MS = 1000;
const STEPS = { finetune: "learning", predict: "looking again" };

/** @param ask of the server; @param say a message; @param shownLayer () => its name; @param onNew is called when it is another one */
export function learningPanel(ask, say, shownLayer, onNew) {
  let running = false, watching = false;

  function show(now) {
    running = now.state === "running";
    find("#learning").hidden = !running;
    find("#learn").disabled = running;
    if (!running) return;
    if (now.total) find("#bar").value = now.done / now.total; else find("#bar").removeAttribute("value");
    const of = now.total ? `, ${now.done} of ${now.total}` : "";
    find("#stage").textContent = `${STEPS[now.step]}${of}, ${Math.round(now.seconds)} s`;
    find("#lines").textContent = now.lines.slice(-3).join("\n");
  }

  /** Whether this tab has told of the end of a round; from now on it has. */
  function toldBefore({ state, name, error }) {
    const end = JSON.stringify([state, name, error]), before = sessionStorage.getItem("told") === end;
    sessionStorage.setItem("told", end);
    return before;
  }

  async function watch() {
    if (watching) return;
    watching = true;
    try {
      let now = await ask("progress"), was = running;
      show(now);
      while (running) {
        was = true;
        await new Promise((done) => setTimeout(done, EVERY_MS));
        now = await ask("progress");
        show(now);
      }
      watching = false;
      if (was && now.state === "done") await onNew();
      if (!was && toldBefore(now)) return;
      // how it ended stays until it has been read
      if (now.state === "done") say(`${now.name}: ${now.news}`, { good: true, stays: true });
      else if (now.state === "failed") say(`nothing was learned: ${now.error}`, { stays: true });
      else if (was && now.state === "stopped") say("stopped; nothing was learned");
      toldBefore(now);
    } catch (error) {
      say(error.message);
    } finally {
      watching = false;
    }
  }

  find("#learn-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    find("#learn").blur();
    say("");
    try {
      show(await ask("learn", { layer: shownLayer(), minutes: Number(find("#minutes").value) }));
      running = true;
      watch();
    } catch (error) {
      say(error.message);
    }
  });
  find("#stop").addEventListener("click", () => ask("stop", {}).catch((error) => say(error.message)));

  return {
    watch,

    /** Whether a round can be started; why not, in words, otherwise: the server says it to whoever tries. */
    allow(why) {
      find("#learn").classList.toggle("vain", Boolean(why));
      find("#learn").title = why;
    },
  };
}
