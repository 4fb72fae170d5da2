// A smoke test in Firefox, driven by WebDriver BiDi: the denoiser in an OfflineAudioContext.
//
//     FIREFOX=/path/to/firefox, default: the first one on the path; without one the test is skipped
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { findFirefox, launchFirefox } from './browser.mjs';
import { serve } from './server.mjs';

const skip = findFirefox() ? false : 'there is no Firefox';
let server, browser, page;

before(async () => {
  if (skip) return;
  server = await serve();
  browser = await launchFirefox();
  page = await (await browser.newContext()).newPage();
  page.on('pageerror', (error) => console.error('page:', error));
  await page.goto(server.url);
  await page.addScriptTag({ type: 'module', url: '/test/page.mjs' });
  await page.waitForFunction(() => globalThis.isReady);
});

after(async () => {
  await browser?.close();
  server?.close();
});

for (const [rate, channels] of [
  [48000, 1],
  [44100, 2],
]) {
  test(`Firefox: noise falls and speech stays: ${rate} Hz, ${channels} channels`, { skip }, async () => {
    const result = await page.evaluate(
      async ([rate, channels]) => {
        const input = await clip('office-fan.wav', rate, channels, 8);
        const { output, latency, events } = await render(input, rate);
        const compared = input.map((samples, channel) => compare(samples, output[channel], latency, rate));
        return { compared, names: events.map((e) => e.name) };
      },
      [rate, channels],
    );
    console.log(rate, channels, JSON.stringify(result));
    for (const { floorBefore, floorAfter, speechChange } of result.compared) {
      assert.ok(floorAfter < floorBefore - 15, 'noise floor');
      assert.ok(Math.abs(speechChange) < 1, 'speech');
    }
    assert.deepEqual(result.names, ['running']);
  });
}
