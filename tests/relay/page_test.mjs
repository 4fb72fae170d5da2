// Checks the relay's page in a browser, against the real process or fake.mjs.
//   node page_test.mjs URL STREAM_ID [--token T] [--chromium PATH] [--playwright DIR] [--no-strips]
// The stream must be receiving packets, so that its strips show something.
// It switches the stream once and back. Exit status 0: all passed; 1: a check failed; 2: wrong use.
import { createRequire } from 'node:module';
import path from 'node:path';

const args = process.argv.slice(2), plain = [], options = {};
while (args.length) {
  const a = args.shift();
  if (a === '--no-strips') options.noStrips = true;
  else if (a.startsWith('--')) options[a.slice(2)] = args.shift();
  else plain.push(a);
}
const [url, id] = plain;
if (!url || !id) {
  console.error('usage: node page_test.mjs URL STREAM_ID [--token T] [--chromium PATH] [--playwright DIR] [--no-strips]');
  process.exit(2);
}
const here = path.dirname(new URL(import.meta.url).pathname);
const dirs = [options.playwright, process.env.PLAYWRIGHT_DIR, here, path.join(here, 'node'), process.cwd()].filter(Boolean);
let chromium;
for (const dir of dirs) {
  try { ({ chromium } = createRequire(path.resolve(dir) + '/x.js')('playwright-core')); break; } catch (e) { if (e.code !== 'MODULE_NOT_FOUND') throw e; }
}
if (!chromium) {
  console.error('playwright-core was not found in: ' + dirs.join(', ') + '. Install it, or name its folder with --playwright DIR.');
  process.exit(2);
}

let failed = 0;
const check = (ok, what) => { console.log((ok ? 'ok    ' : 'FAIL  ') + what); if (!ok) failed++; };
const browser = await chromium.launch({
  executablePath: options.chromium ?? process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  const trouble = [], outside = [];
  page.on('console', m => { if (m.type() === 'error') trouble.push(m.text()); });
  page.on('pageerror', e => trouble.push(String(e)));
  page.on('request', r => { if (new URL(r.url()).origin !== new URL(url).origin && !r.url().startsWith('data:')) outside.push(r.url()); });
  if (options.token) await page.addInitScript(t => sessionStorage.setItem('quietwire-token', t), options.token);

  const answer = await page.goto(url, { timeout: 10000 });
  check(answer.ok(), 'the page loads');
  const csp = answer.headers()['content-security-policy'] ?? '';
  check(csp.includes("default-src 'none'"), "the page comes with Content-Security-Policy default-src 'none'");

  const find = () => page.evaluateHandle(wanted => [...document.querySelectorAll('tbody.stream')].find(e => e.dataset.id === wanted) ?? null, id);
  await page.waitForFunction(wanted => [...document.querySelectorAll('tbody.stream')].some(e => e.dataset.id === wanted), id, { timeout: 10000 }).catch(() => {});
  const row = (await find()).asElement();
  check(!!row, 'the stream is listed');
  check(await page.textContent('#health') === 'ok', 'health is shown as ok');
  if (row) {
    await page.fill('#filter', id);
    const toggle = await row.$('[role=switch]'), was = await toggle.isChecked();
    for (const want of [!was, was]) {
      const [sent] = await Promise.all([
        page.waitForResponse(r => r.request().method() === 'PATCH', { timeout: 10000 }).catch(() => null),
        toggle.click(),
      ]);
      const word = want ? 'on' : 'off';
      check(!!sent && sent.request().postData() === JSON.stringify({ on: want }), `switching ${word} sends PATCH {"on":${want}}`);
      check(!!sent && sent.ok() && (await sent.json()).on === want, `the process answers that the stream is ${word}`);
      check(!!sent && decodeURIComponent(sent.url().split('/').pop()) === id, 'the PATCH names the stream');
      await page.waitForTimeout(1200);
      check(await toggle.isChecked() === want, `after the next polls the switch still shows ${word}`);
    }

    const open = await row.$('button.exp');
    if (await open.getAttribute('aria-expanded') !== 'true') { await open.focus(); await page.keyboard.press('Enter'); }
    check(await open.getAttribute('aria-expanded') === 'true', 'the details open from the keyboard');
    if (!options.noStrips) {
      const colours = () => row.$$eval('tr:nth-child(2) canvas', all => all.map(c => {
        const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer);
        return new Set(d).size;
      }));
      let seen = [0, 0];
      for (const end = Date.now() + 15000; Date.now() < end && !(seen[0] > 8);) { await page.waitForTimeout(300); seen = await colours(); }
      check(seen.length === 2, 'there are two strips');
      check(seen[0] > 8, `the input strip is drawn (${seen[0]} colours; is the stream receiving packets?)`);
      check(seen[1] > 1, `the output strip is drawn (${seen[1]} colours)`);
    }
  }
  check(outside.length === 0, 'nothing is asked of another origin' + outside.map(u => '\n      ' + u).join(''));
  check(trouble.length === 0, 'no console errors' + trouble.map(t => '\n      ' + t).join(''));
} finally { await browser.close(); }
console.log(failed ? failed + ' checks failed' : 'all checks passed');
process.exit(failed ? 1 : 0);
