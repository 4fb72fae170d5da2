// The functions of the two pages of the call, called by call.mjs as `window.call`.
import Janus from '/janus.js';

const RATE = 48000;
const BLOCK_US = 10_000; // the mixer's block
const SAMPLES = (RATE * BLOCK_US) / 1e6;
const ROOM = 1234;
const MOUNTPOINT = 77;
const SECRET = 'secret';

const { adapter } = window;
await new Promise((callback) => {
  const dependencies = Janus.useDefaultDependencies({ adapter });
  Janus.init({ debug: ['warn', 'error'], dependencies, callback });
});

const connect = (server) =>
  new Promise((success, error) => {
    const session = new Janus({ server, iceServers: [], success: () => success(session), error });
  });

const attach = (session, plugin, callbacks) =>
  new Promise((success, error) => session.attach({ plugin, success, error, ...callbacks }));

// A request that the plugin answers directly.
const request = (handle, message) =>
  new Promise((resolve, reject) =>
    handle.send({
      message,
      success: (answer) => (answer?.error ? reject(new Error(answer.error)) : resolve(answer)),
      error: (reason) => reject(new Error(reason)),
    }),
  );

let publisher; // handle of the publisher in the room
let feed; // id of the publisher in the room

// Publishes the microphone in the room. Resolves to the publisher's id when media flows.
async function publish(server) {
  const session = await connect(server);
  await new Promise((resolve, reject) => {
    const offer = () =>
      publisher.createOffer({
        tracks: [
          {
            type: 'audio',
            capture: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
            recv: false,
          },
        ],
        success: (jsep) => publisher.send({ message: { request: 'publish' }, jsep }),
        error: reject,
      });
    attach(session, 'janus.plugin.videoroom', {
      onmessage: (message, jsep) => {
        if (message.error) reject(new Error(message.error));
        if (message.videoroom === 'joined') {
          feed = message.id;
          offer();
        }
        if (jsep) publisher.handleRemoteJsep({ jsep });
      },
      webrtcState: (up) => up && resolve(),
    }).then((handle) => {
      publisher = handle;
      publisher.send({ message: { request: 'join', room: ROOM, ptype: 'publisher' } });
    }, reject);
  });
  return feed;
}

// A request to the room about the publisher.
const requestRoom = (name, details) =>
  request(publisher, { request: name, room: ROOM, secret: SECRET, publisher_id: feed, ...details });

// Forwards the publisher's RTP to a UDP port, encrypted if there is a key. Resolves to the id of the
// forwarder.
async function forward(host, port, key) {
  const streams = [{ mid: '0', port, pt: 111 }];
  const { forwarders } = await requestRoom('rtp_forward', { host, host_family: 'ipv4', streams, ...key });
  return forwarders[0].stream_id;
}

const stopForward = (stream_id) => requestRoom('stop_rtp_forward', { stream_id });

// Subscribes to the audio of a plugin. Resolves to its track and its peer connection.
async function subscribe(session, plugin, join, start) {
  let handle;
  const track = await new Promise((resolve, reject) => {
    attach(session, plugin, {
      onmessage: (message, jsep) => {
        if (message.error) reject(new Error(message.error));
        if (!jsep) return;
        handle.createAnswer({
          jsep,
          tracks: [],
          success: (jsep) => handle.send({ message: start, jsep }),
          error: reject,
        });
      },
      onremotetrack: (track, mid, added) => added && track.kind === 'audio' && resolve(track),
    }).then((attached) => {
      handle = attached;
      handle.send({ message: join });
    }, reject);
  });
  return { track, connection: handle.webrtcStuff.pc };
}

let recording; // of the page that listens

async function inboundStats({ connection }) {
  for (const stats of (await connection.getStats()).values()) {
    if (stats.type === 'inbound-rtp') return stats;
  }
  throw new Error('no inbound-rtp in the stats');
}

// Collects the decoded blocks of a track from the mixer, 10 ms each. Web Audio would insert a queue
// between two clocks, whose underruns are silence that is not part of the call.
async function collect(end) {
  // Chromium pulls a remote track only while an element plays it.
  end.player = new Audio();
  end.player.srcObject = new MediaStream([end.track]);
  end.player.muted = true;
  end.player.play();
  const { readable } = new MediaStreamTrackProcessor({ track: end.track, maxBufferSize: 1000 });
  end.blocks = [];
  for await (const block of readable) {
    const { timestamp, sampleRate, numberOfFrames } = block;
    if (sampleRate !== RATE || numberOfFrames !== SAMPLES) {
      throw new Error(`blocks of ${numberOfFrames} samples at ${sampleRate} Hz`);
    }
    const samples = new Float32Array(SAMPLES);
    block.copyTo(samples, { planeIndex: 0, format: 'f32-planar' });
    block.close();
    end.blocks.push({ timestamp, samples });
  }
}

// The blocks of one end since the start of the recording. The mixer pulls both ends at the same time, so
// timestamps align the blocks.
const recorded = ({ blocks }) =>
  blocks.filter(({ timestamp }) => timestamp > recording.origin - BLOCK_US / 2);

// Length of the recording so far, samples.
const position = () => SAMPLES * Math.min(...recording.ends.map((end) => recorded(end).length));

// The statistics of both connections so far.
async function snapshot() {
  const [room, relay] = await Promise.all(recording.ends.map(inboundStats));
  return { sample: position(), room, relay };
}

// Records the publisher from the room and from the relay.
async function record(server, feed) {
  const session = await connect(server);
  const ends = await Promise.all([
    subscribe(
      session,
      'janus.plugin.videoroom',
      { request: 'join', room: ROOM, ptype: 'subscriber', streams: [{ feed }] },
      { request: 'start', room: ROOM },
    ),
    subscribe(
      session,
      'janus.plugin.streaming',
      { request: 'watch', id: MOUNTPOINT },
      { request: 'start' },
    ),
  ]);
  ends.forEach(collect);
  const flows = async (end) => (await inboundStats(end)).packetsReceived >= 10 && end.blocks.length;
  for (const end of ends) {
    while (!(await flows(end).catch(() => false))) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  const origin = Math.max(...ends.map(({ blocks }) => blocks.at(-1).timestamp));
  recording = { ends, origin, snapshots: [] };
  recording.timer = setInterval(async () => recording.snapshots.push(await snapshot()), 500);
}

// Ends the recording and posts its samples: the room, then the relay. Resolves to the snapshots.
async function finish() {
  clearInterval(recording.timer);
  recording.snapshots.push(await snapshot());
  const length = position() / SAMPLES;
  const [room, relay] = recording.ends.map((end) => recorded(end).slice(0, length));
  const apart = room.findIndex(
    ({ timestamp }, i) => Math.abs(timestamp - relay[i].timestamp) > BLOCK_US / 2,
  );
  if (apart >= 0) throw new Error(`the two recordings fell apart at sample ${apart * SAMPLES}`);
  const body = new Blob([...room, ...relay].map(({ samples }) => samples));
  await fetch('/recording', { method: 'POST', body });
  return recording.snapshots;
}

window.call = { publish, forward, stopForward, record, position, finish };
