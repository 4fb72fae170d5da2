// Tests the page of a relay in Chromium. Started by page.sh.
//
//     node page_test.mjs URL OUT_FOLDER --npm FOLDER STREAM_ID STREAM_ID ...
//
// The relay must have exactly these streams, created with default values, and each of them must
// receive noisy speech. The test changes the first stream and removes the last one and a stream that
// the page creates. Writes screenshots to OUT_FOLDER.
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const TIMEOUT_MS = 10_000; // for operations that usually take a second

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: { npm: { type: 'string' } },
});
const [url, out, ...ids] = positionals;
if (ids.length < 2 || !options.npm) {
  throw new Error('usage: page_test.mjs URL OUT_FOLDER --npm FOLDER STREAM_ID STREAM_ID ...');
}
const npm = path.resolve(options.npm);
const { chromium } = createRequire(path.join(npm, 'package.json'))('playwright-core');
const [one] = ids;
const last = ids.at(-1);
const created = 'created-by-the-page';

let failed = 0;
const check = (ok, what) => {
  console.log(`${ok ? 'ok    ' : 'FAIL  '}${what}`);
  if (!ok) failed++;
};
const step = (what) => console.log(`${(performance.now() / 1000).toFixed(1)} s: ${what}`);

// Whether `probe` becomes true in time. Its errors count as false.
async function soon(probe, timeout = TIMEOUT_MS) {
  const end = performance.now() + timeout;
  for (;;) {
    if (await Promise.resolve().then(probe).catch(() => false)) return true;
    if (performance.now() > end) return false;
    await sleep(50);
  }
}

// A stream from the control interface. `undefined`: the stream does not exist.
async function stream(id) {
  const answer = await fetch(new URL(`v1/streams/${id}`, url), {
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  return answer.ok ? answer.json() : undefined;
}
async function remove(id) {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  await fetch(new URL(`v1/streams/${id}`, url), { method: 'DELETE', signal });
}

const unsigned = (text) => Number.parseFloat(text.replace('−', '-'));
const different = (list) => new Set(list).size;

async function test(page) {
  const row = (id) => page.locator(`tbody.stream[data-id="${id}"]`);
  // The content of the page for a stream: `columns` by heading, `facts` by name, and `lit`, `colors`,
  // `light` and `image` of its two large spectrograms.
  const shown = (id) =>
    row(id).evaluate((body) => {
      const headings = [...document.querySelectorAll('thead th')].map((th) => th.innerText);
      const cells = [...body.rows[0].cells].map((cell) => cell.innerText.trim());
      const facts = [...body.querySelectorAll('.facts > div')].map((fact) => [
        fact.querySelector('dt').textContent,
        fact.querySelector('dd').textContent,
      ]);
      const strips = [...body.querySelectorAll('.plot canvas')].map((canvas) => {
        const { width, height } = canvas;
        const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
        const pixels = new Uint32Array(data.buffer);
        let light = 0;
        const lit = new Set();
        for (let i = 0; i < pixels.length; i++) {
          const value = data[4 * i] + data[4 * i + 1] + data[4 * i + 2];
          light += value / pixels.length;
          if (value > 150) lit.add(i % width); // above the darkest fifth of the scale
        }
        const image = canvas.toDataURL();
        return { width, height, colors: new Set(pixels).size, lit: lit.size, light, image };
      });
      return {
        columns: Object.fromEntries(headings.map((heading, i) => [heading.trim(), cells[i]])),
        facts: Object.fromEntries(facts),
        strips,
        meters: [...body.querySelectorAll('.meter')].map((meter) => meter.ariaValueText),
      };
    });
  const listed = () =>
    page.locator('tbody.stream').evaluateAll((all) => all.map((body) => body.dataset.id));
  const lists = (...wanted) => soon(async () => `${(await listed()).sort()}` === `${wanted.sort()}`);
  const count = () => page.textContent('#count');
  const picture = async (name) => {
    await page.evaluate(() => window.scrollTo(0, 0));
    await page.screenshot({ path: path.join(out, `${name}.png`), fullPage: true });
  };
  // The first request with a method that `act` causes.
  const requestOf = async (method, act) => {
    const request = page.waitForResponse((answer) => answer.request().method() === method, {
      timeout: TIMEOUT_MS,
    });
    const [answer] = await Promise.all([request.catch(() => null), act()]);
    return { body: answer?.request().postData(), url: answer?.url(), ok: answer?.ok() };
  };

  step('loading');
  const answer = await page.goto(url, { timeout: TIMEOUT_MS });
  check(answer.ok(), 'the page loads');
  const policy = answer.headers()['content-security-policy'] ?? '';
  check(policy.includes("default-src 'none'"), 'its policy forbids other origins');
  check(await lists(...ids), 'the streams are listed');
  check(await soon(async () => (await count()) === `${ids.length}`), 'they are counted');
  check(await soon(async () => (await page.textContent('#health')) === 'ok'), 'health is ok');
  const { version } = await (await fetch(new URL('health', url))).json();
  check((await page.textContent('#version')) === version, `the version is shown: ${version}`);

  step('levels and strips');
  const isDenoised = async (id) => /denoising|stepped-down/.test((await shown(id)).columns.State);
  for (const id of ids) check(await soon(() => isDenoised(id)), `${id} is denoised`);
  const looks = [];
  for (let i = 0; i < 20; i++) {
    looks.push(await Promise.all(ids.map(shown)));
    await sleep(250);
  }
  for (const [at, id] of ids.entries()) {
    const of = looks.map((look) => look[at]);
    for (const name of ['In dBFS', 'Out dBFS', 'SNR in → out']) {
      const seen = of.map((look) => look.columns[name]);
      const fit = seen.every((text) => unsigned(text) > -150 && unsigned(text) < 100);
      const n = different(seen);
      check(fit && n > 4, `${id}: ${name} is a number and moves (${n} values, now ${seen.at(-1)})`);
    }
    for (const name of ['SNR in', 'SNR out (est.)', 'Gain', 'Speech now', 'received', 'sent']) {
      const n = different(of.map((look) => look.facts[name]));
      check(n > 3, `${id}: ${name} moves (${n} values, now ${of.at(-1).facts[name]})`);
    }
    const same = of.every((look) =>
      ['In dBFS', 'Out dBFS'].every((name, i) => look.meters[i] === `${look.columns[name]} dBFS`),
    );
    check(same, `${id}: the meters equal the numbers beside them`);
    const [input, output] = of.at(-1).strips;
    check(of.at(-1).strips.length === 2, `${id}: there are two strips`);
    for (const [name, strip] of Object.entries({ input, output })) {
      const moves = different(of.map((look) => look.strips[name === 'input' ? 0 : 1].image));
      check(
        strip.colors > 30 && strip.lit > 40 && moves > 8,
        `${id}: the strip of the ${name} is drawn and moves ` +
          `(${strip.colors} colors, ${strip.lit} of ${strip.width} columns, ${moves} images)`,
      );
    }
    check(
      output.light < input.light,
      `${id}: the output is darker than the input ` +
        `(${output.light.toFixed(0)} and ${input.light.toFixed(0)} of 765)`,
    );
  }
  // The page shows an answer at once, and the next one arrives half a second later.
  const agrees = async () => {
    const list = await page.waitForResponse((answer) => answer.url().endsWith('/v1/streams'));
    const { levels } = (await list.json()).streams.find(({ id }) => id === one);
    const { columns } = await shown(one);
    const near = (name, value) => Math.abs(unsigned(columns[name]) - value) < 0.06;
    return near('In dBFS', levels.input_dbfs) && near('Out dBFS', levels.output_dbfs);
  };
  check(await soon(agrees), "the page shows the answer of the relay");
  await picture('page');

  step('the switch');
  const toggle = row(one).getByRole('switch');
  for (const on of [false, true]) {
    const word = on ? 'on' : 'off';
    const patch = await requestOf('PATCH', () => (on ? toggle.press('Space') : toggle.click()));
    check(
      patch.ok && patch.body === JSON.stringify({ on }) && patch.url.endsWith(`/${one}`),
      `${on ? 'the space bar' : 'a click'} sends ${patch.body}`,
    );
    const state = on ? /denoising|stepped-down/ : /relaying/;
    const isApplied = async () => {
      const now = await stream(one);
      return now.on === on && state.test(now.state);
    };
    check(await soon(isApplied), `the relay reports that ${one} is ${word}`);
    const isShown = async () => state.test((await shown(one)).columns.State);
    check(await soon(isShown), 'the page shows it');
    const { relayed } = (await stream(one)).packets;
    await sleep(1200);
    const passed = (await stream(one)).packets.relayed - relayed;
    check(on ? passed < 5 : passed > 20, `${passed} packets pass unchanged meanwhile`);
    check((await toggle.isChecked()) === on, `polls leave the switch ${word}`);
    const { columns } = await shown(one);
    const levels = [columns['In dBFS'], columns['Out dBFS']];
    check(levels.every((text) => (text !== '–') === on), `the levels are ${levels}`);
    if (!on) await picture('off');
  }
  for (const id of ids.slice(1)) check((await stream(id)).on, `${id} was left on`);

  step('attenuation and model');
  const number = row(one).locator('.ctl input[type=number]');
  const range = row(one).locator('.ctl input[type=range]');
  const attenuation = async () => (await stream(one)).attenuation_db;
  check((await number.inputValue()) === `${await attenuation()}`, 'the attenuation is shown');
  await number.fill('6');
  await number.press('Enter');
  check(await soon(async () => (await attenuation()) === 6), 'a number typed is set');
  check((await range.inputValue()) === '6', 'and the slider follows');
  await sleep(500); // for the attenuation ramp
  const gains = [];
  const low = async () => {
    gains.push((await stream(one)).levels.gain_db);
    return gains.length >= 20 && Math.min(...gains) < -3;
  };
  check(
    (await soon(low)) && Math.min(...gains) > -6.5,
    `the gain goes down to it and no further (${Math.min(...gains).toFixed(1)} dB)`,
  );
  await range.press('ArrowRight');
  check(await soon(async () => (await attenuation()) === 7), 'the slider sets it');
  check((await number.inputValue()) === '7', 'and the number follows');
  await number.fill('-1');
  await number.press('Enter');
  const warned = async () => (await page.textContent('#notetext')).includes('attenuation');
  check(await soon(warned), 'an invalid number is rejected');
  check((await attenuation()) === 7 && (await number.inputValue()) === '7', 'and reset');
  await page.click('#dismiss');
  check(!(await page.isVisible('#note')), 'a note can be dismissed');

  const { models } = await (await fetch(new URL('v1/models', url))).json();
  const choice = row(one).locator('.ctl select');
  const offered = await choice.locator('option').allTextContents();
  check(`${offered}` === `${models}`, `the models are offered: ${offered}`);
  await choice.selectOption(models.at(-1));
  const chosen = async () => (await stream(one)).model === models.at(-1);
  check(await soon(chosen), `the model is set: ${models.at(-1)}`);
  await sleep(600);
  check((await choice.inputValue()) === models.at(-1), 'polls leave the model');

  step('details, filter, order');
  const open = row(one).locator('button.exp');
  const mini = row(one).locator('.mini');
  await open.focus();
  await page.keyboard.press('Enter');
  check((await open.getAttribute('aria-expanded')) === 'false', 'the details close by keyboard');
  check(await mini.isVisible(), 'the row has small strips instead');
  const drawn = () =>
    mini.locator('canvas').evaluateAll((all) =>
      all.map((canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
      }),
    );
  check(await soon(async () => (await drawn()).every((n) => n > 30)), 'which are drawn');
  await page.keyboard.press('Enter');
  check((await open.getAttribute('aria-expanded')) === 'true', 'the details open again');
  await page.fill('#filter', one.toUpperCase());
  const visible = async () => {
    const all = await page.locator('tbody.stream').all();
    const seen = await Promise.all(all.map(async (body) => (await body.isVisible()) && body));
    return Promise.all(seen.filter(Boolean).map((body) => body.getAttribute('data-id')));
  };
  check(`${await visible()}` === one, 'the filter leaves one stream');
  await page.fill('#filter', '');
  check(`${await visible()}` === `${[...ids].sort()}`, 'all are back, by their ids');
  await page.getByRole('columnheader', { name: 'Id' }).getByRole('button').click();
  check(`${await visible()}` === `${[...ids].sort().reverse()}`, 'a heading turns the order');
  await page.getByRole('columnheader', { name: 'Id' }).getByRole('button').click();

  step('a created stream, removed streams');
  await page.click('#add summary');
  await page.fill('#form [name=id]', created);
  await page.fill('#form [name=send_to]', '127.0.0.1:9');
  await page.selectOption('#form [name=codec]', 'pcmu');
  const post = await requestOf('POST', () => page.click('#form button'));
  check(post.ok && (await stream(created))?.codec === 'pcmu', `the form creates a stream: ${post.body}`);
  check(await lists(...ids, created), 'it is listed');
  const { columns } = await shown(created);
  check(columns.State.includes('idle') && columns['In dBFS'] === '–', 'as idle, without levels');
  await picture('created');

  await remove(last);
  const rest = ids.slice(0, -1);
  check(await lists(...rest, created), 'a stream that was removed from the relay disappears');
  let question = '';
  page.once('dialog', (dialog) => {
    question = dialog.message();
    return dialog.accept();
  });
  const gone = await requestOf('DELETE', () => row(created).getByText('Remove…').click());
  check(gone.ok && question.includes(created), 'the button asks for confirmation and removes');
  check(await lists(...rest), 'the removed stream disappears');
  check(!(await stream(created)), 'the relay has removed it');
  await sleep(1200);
  check(await lists(...rest), 'and polls do not bring it back');
  check((await count()) === `${rest.length}`, 'the other streams are counted');
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  timeout: 3 * TIMEOUT_MS,
  args: ['--no-sandbox', '--disable-gpu'], // root and most containers cannot have a sandbox
});
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  page.setDefaultTimeout(TIMEOUT_MS);
  const trouble = [];
  const outside = [];
  page.on('console', (message) => {
    if (message.type() === 'error') trouble.push(message.text());
  });
  page.on('pageerror', (error) => trouble.push(String(error)));
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== new URL(url).origin && protocol !== 'data:') outside.push(request.url());
  });
  await test(page).catch(async (error) => {
    check(false, error.message);
    await page.screenshot({ path: path.join(out, 'failed.png') }).catch(() => {});
  });
  check(!outside.length, `no requests to other origins ${outside}`);
  check(!trouble.length, `no errors in the console ${trouble.join('\n      ')}`);
} finally {
  await browser.close();
}
step(failed ? `${failed} checks failed` : 'all checks passed');
process.exitCode = failed ? 1 : 0;
