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
    const planned = now.step === "finetune" ? now.seconds / (60 * now.minutes) : 0;
    const share = Math.min(Math.max(now.total ? now.done / now.total : 0, planned), 1);
    if (share > 0) find("#bar").value = share; else find("#bar").removeAttribute("value");
    const of = now.total ? `, ${now.done} of ${now.total}` : "";
    find("#stage").textContent = `${STEPS[now.step]}${of}, ${Math.round(now.seconds)} s`;
    find("#lines").textContent = now.lines.slice(-3).join("\n");
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
      if (!was) return;
      if (now.state === "done") {
        await onNew();
        say(`${now.name}: ${now.news}`, true);
      } else if (now.state === "failed") say(`nothing was learned: ${now.error}`);
      else if (now.state === "stopped") say("stopped; nothing was learned");
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
