/** `<quietwire-meter>`: levels before and after, and a switch to compare. */
import type { DenoiserNode } from './node.js';

const FLOOR_DBFS = -80;

class QuietwireMeter extends HTMLElement {
  private node_: DenoiserNode | undefined;
  private off: (() => void) | undefined;
  private readonly bars: HTMLMeterElement[] = [];
  private readonly text: HTMLSpanElement;
  private readonly box: HTMLInputElement;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    for (const name of ['before', 'after']) {
      const label = document.createElement('label');
      const bar = document.createElement('meter');
      bar.min = FLOOR_DBFS;
      bar.max = 0;
      bar.value = FLOOR_DBFS;
      label.append(`${name} `, bar);
      this.bars.push(bar);
      root.append(label, ' ');
    }
    const label = document.createElement('label');
    this.box = document.createElement('input');
    this.box.type = 'checkbox';
    this.box.checked = true;
    this.box.addEventListener('change', () => this.node_?.setEnabled(this.box.checked));
    label.append(this.box, ' remove noise ');
    this.text = document.createElement('span');
    root.append(label, this.text);
  }

  get node(): DenoiserNode | undefined {
    return this.node_;
  }

  set node(node: DenoiserNode | undefined) {
    this.off?.();
    this.node_ = node;
    if (!node) return;
    node.setTelemetry(15);
    node.setEnabled(this.box.checked);
    this.off = node.on('telemetry', (telemetry) => {
      const levels = [telemetry.inputDbfs, telemetry.outputDbfs];
      this.bars.forEach((bar, n) => (bar.value = Math.max(levels[n]!, FLOOR_DBFS)));
      this.text.textContent = `SNR ${telemetry.snrDb.toFixed(0)} dB, load ${(100 * telemetry.load).toFixed(0)} %`;
    });
  }
}

customElements.define('quietwire-meter', QuietwireMeter);

declare global {
  interface HTMLElementTagNameMap {
    'quietwire-meter': QuietwireMeter;
  }
}
