// Throttles the processes of a page. Chromium's own throttle, `Emulation.setCPUThrottlingRate`, reaches only the
// main thread of a page, not its audio thread.
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds for which the processes run between two stops. */
const RUN_MS = 1;
/** Milliseconds of a stop. */
const STOP_MS = 1000;

/** A throttle for the pages that a browser has now. */
export async function throttle(browser) {
  const cdp = await browser.newBrowserCDPSession();
  const { processInfo } = await cdp.send('SystemInfo.getProcessInfo');
  const ids = processInfo.filter((process) => process.type === 'renderer').map((process) => process.id);
  const signal = (name) => ids.forEach((id) => process.kill(id, name));
  let stops = 0;
  let isEnded = false;
  const cycle = (async () => {
    while (!isEnded) {
      if (stops > 0) {
        stops--;
        signal('SIGSTOP');
        await sleep(STOP_MS);
        signal('SIGCONT');
      }
      await sleep(RUN_MS);
    }
  })();
  return {
    /** Stops the processes that many times from now on; 0: not at all. */
    set: (count) => {
      stops = count;
    },
    end: async () => {
      isEnded = true;
      await cycle;
    },
  };
}
