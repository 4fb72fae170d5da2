// Cost of a quantum of 128 frames on the audio thread of headless Chromium: this package beside others from npm,
// in the same run.
//
//     npm run bench:worklet [-- --rounds 5 --seconds 10 --real-time]
//
// Chromium's trace has the processor time of each call of a worklet's `process`; an AudioWorklet has no clock
// of its own with that resolution. The time in which another program runs is not part of it. The processors
// take turns, each in a context of its own. An OfflineAudioContext renders as fast as it can; with `--real-time`
// an AudioContext plays.
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

import { launch } from '../test/browser.mjs';
import { serve } from '../test/server.mjs';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '10' },
    'real-time': { type: 'boolean', default: false },
  },
});
const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
const RATE_HZ = 48000;
/** Part of each turn after which its quanta count: until then the browser optimizes the code. */
const WARM = 0.3;
const CATEGORIES = ['disabled-by-default-audio-worklet', 'blink.user_timing'];
const EVENT = 'AudioWorkletProcessor::Process (author script execution)';

const server = await serve();
const browser = await launch();
const page = await (await browser.newContext()).newPage();
page.on('pageerror', (error) => console.error('page:', error));
await page.goto(server.url);
await page.addScriptTag({ type: 'module', url: '/bench/worklet-page.mjs' });
await page.waitForFunction(() => globalThis.benchedNames);
const names = await page.evaluate(() => benchedNames);
const cdp = await browser.newBrowserCDPSession();

/** The trace of some work. */
async function traced(work) {
  const events = [];
  const collect = ({ value }) => events.push(...value);
  cdp.on('Tracing.dataCollected', collect);
  await cdp.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: CATEGORIES } });
  await work();
  const complete = new Promise((resolve) => cdp.once('Tracing.tracingComplete', resolve));
  await cdp.send('Tracing.end');
  await complete;
  cdp.off('Tracing.dataCollected', collect);
  return events;
}

const times = Object.fromEntries(names.map((name) => [name, []]));
for (let round = 0; round < rounds; round++) {
  for (const name of names) {
    const events = await traced(() =>
      page.evaluate(([name, rateHz, seconds, live]) => turn(name, rateHz, seconds, live), [
        name, RATE_HZ, seconds, values['real-time'],
      ]),
    );
    const [start, end] = ['start', 'end'].map((mark) => events.find((e) => e.name === mark && e.cat === 'blink.user_timing').ts);
    const quanta = events.filter((e) => e.name === EVENT && e.ph === 'X' && e.ts >= start && e.ts <= end);
    quanta.sort((x, y) => x.ts - y.ts);
    const expected = Math.round((seconds * RATE_HZ) / 128);
    if (quanta.length < expected / 2) throw new Error(`${name}: ${quanta.length} quanta in the trace, expected ${expected}`);
    times[name].push(...quanta.slice(WARM * quanta.length).map((e) => e.tdur));
  }
}
const version = browser.version();
await browser.close();
server.close();

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
const kind = values['real-time'] ? 'an AudioContext' : 'an OfflineAudioContext';
console.log(`Chromium ${version}, ${cpus()[0].model}, ${kind}, ${rounds} rounds of ${seconds} s, commit ${commit}\n`);
console.log('| | p50 | p99 | mean | load |\n|---|---:|---:|---:|---:|');
for (const [name, all] of Object.entries(times)) {
  all.sort((x, y) => x - y);
  const at = (part) => `${all[Math.floor(part * (all.length - 1))]} us`;
  const mean = all.reduce((sum, t) => sum + t, 0) / all.length;
  const load = (100 * mean * RATE_HZ) / 128 / 1e6;
  console.log(`| ${name} | ${at(0.5)} | ${at(0.99)} | ${mean.toFixed(1)} us | ${load.toFixed(2)} % |`);
}
