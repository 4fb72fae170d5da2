// Throttles the processes of a page. Chromium's own throttle, `Emulation.setCPUThrottlingRate`, reaches only the
// main thread of a page, not its audio thread.
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds for which the processes run between two stops. */
const RUN_MS = 1;

/** A throttle for the pages that a browser has now. */
export async function throttle(browser) {
  const cdp = await browser.newBrowserCDPSession();
  const { processInfo } = await cdp.send('SystemInfo.getProcessInfo');
  const ids = processInfo.filter((process) => process.type === 'renderer').map((process) => process.id);
  const signal = (name) => ids.forEach((id) => process.kill(id, name));
  let stopMs = 0;
  let isEnded = false;
  const cycle = (async () => {
    while (!isEnded) {
      if (stopMs > 0) {
        signal('SIGSTOP');
        await sleep(stopMs);
        signal('SIGCONT');
      }
      await sleep(RUN_MS);
    }
  })();
  return {
    /** Stops the processes for `ms` milliseconds between any two milliseconds; 0: not at all. */
    set: (ms) => {
      stopMs = ms;
    },
    end: async () => {
      isEnded = true;
      await cycle;
    },
  };
}
