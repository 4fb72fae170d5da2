// A server of this package's files for a page in Chromium, with a strict policy.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../', import.meta.url));
const samples = path.resolve(root, '../../samples');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm', '.css': 'text/css' };
// What docs and README state: no eval, no inline scripts, no other origin.
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; media-src 'self' blob:; style-src 'self'; worker-src 'self'";
const PAGE = '<!doctype html><meta charset="utf-8"><title>test</title>';

/** Starts the server. `/` is an empty page, `/no-wasm` one whose policy forbids WebAssembly. */
export async function serve() {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const policy = pathname === '/no-wasm' ? POLICY.replace(" 'wasm-unsafe-eval'", '') : POLICY;
    const head = { 'Content-Security-Policy': policy };
    if (pathname === '/' || pathname === '/no-wasm') {
      response.writeHead(200, { ...head, 'Content-Type': 'text/html' }).end(PAGE);
      return;
    }
    const file = pathname.startsWith('/samples/')
      ? path.join(samples, path.basename(pathname))
      : path.join(root, path.normalize(pathname));
    try {
      const bytes = await readFile(file);
      response.writeHead(200, { ...head, 'Content-Type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://localhost:${server.address().port}`, close };
}
