// Memory of a denoiser in headless Chromium, on Linux: resident memory of all processes of the browser, shared
// pages in parts, with one node and with more; and what a node copies to the audio thread when it starts.
//
//     npm run bench:memory [-- --nodes 20]
import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { launch } from '../test/browser.mjs';
import { serve } from '../test/server.mjs';

const { values } = parseArgs({ options: { nodes: { type: 'string', default: '20' } } });
const nodes = Number(values.nodes);
const MIB = 2 ** 20;

/** Children of a process, and their children, by /proc. */
function processes(root) {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [[name, readFileSync(`/proc/${name}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[1]]];
      } catch {
        return []; // it has ended
      }
    });
  const found = [String(root)];
  for (let at = 0; at < found.length; at++) {
    found.push(...parents.filter(([, parent]) => parent === found[at]).map(([name]) => name));
  }
  return found;
}

/** Proportional resident memory, bytes. */
function resident() {
  return processes(process.pid)
    .filter((name) => name !== String(process.pid))
    .map((name) => {
      try {
        return 1024 * Number(/^Pss: +(\d+)/m.exec(readFileSync(`/proc/${name}/smaps_rollup`, 'utf8'))[1]);
      } catch {
        return 0; // it has ended
      }
    })
    .reduce((sum, bytes) => sum + bytes, 0);
}

const server = await serve();
for (const models of [['base', 'tiny'], ['base'], ['tiny']]) {
  const browser = await launch(undefined, ['--js-flags=--expose-gc']);
  try {
    const page = await (await browser.newContext()).newPage();
    await page.goto(server.url);
    await page.addScriptTag({ type: 'module', url: '/test/page.mjs' });
    await page.waitForFunction(() => globalThis.isReady);
    // The first node brings the compiled module and the files.
    const add = (count) =>
      page.evaluate(
        async ([models, count]) => {
          globalThis.context ??= new AudioContext({ sampleRate: 48000 });
          const { AudioWorkletNode } = globalThis;
          let copied = 0;
          globalThis.AudioWorkletNode = class extends AudioWorkletNode {
            constructor(context, name, options) {
              super(context, name, options);
              copied = options.processorOptions.image.bytes.length;
            }
          };
          globalThis.kept ??= [];
          for (let n = 0; n < count; n++) {
            const node = await createDenoiser(context, { models });
            node.connect(context.destination);
            await new Promise((resolve) => node.on('running', resolve));
            kept.push(node);
          }
          globalThis.AudioWorkletNode = AudioWorkletNode;
          for (let n = 0; n < 5; n++) {
            gc();
            await new Promise((resolve) => setTimeout(resolve, 200));
          }
          return copied;
        },
        [models, count],
      );
    const copied = await add(1);
    const before = resident();
    await add(nodes);
    const each = (resident() - before) / nodes;
    console.log(
      `${models.join(' and ').padEnd(13)}  ${(each / MIB).toFixed(1)} MiB for a further node, ` +
        `${(copied / 1e6).toFixed(1)} MB copied to the audio thread`,
    );
  } finally {
    await browser.close();
  }
}
server.close();
