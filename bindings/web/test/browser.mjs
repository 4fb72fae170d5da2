// The Chromium that tests and benches run in.
import { execFileSync } from 'node:child_process';

import { chromium } from 'playwright-core';

function find(variable, names) {
  if (process.env[variable]) return process.env[variable];
  for (const name of names) {
    try {
      return execFileSync('which', [name], { encoding: 'utf8' }).trim();
    } catch {
      continue;
    }
  }
  throw new Error(`no ${names[0]} on the path: set ${variable}`);
}

/** Headless Chromium. @param microphone path of a WAV file that the fake microphone plays */
export function launch(microphone, args = []) {
  const fake = ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${microphone}`];
  return chromium.launch({
    executablePath: find('CHROMIUM', ['chromium', 'chromium-browser', 'google-chrome']),
    args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required', ...(microphone ? fake : []), ...args],
  });
}
