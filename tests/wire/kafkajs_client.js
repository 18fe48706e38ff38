// kafkajs: Node. Its package is installed below target/wire, which NODE_PATH names.
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs');
const snappy = require('kafkajs-snappy');
const lz4 = require('lz4js');
const xxh32 = require('lz4js/xxh32.js');
const { ZstdCodec } = require('zstd-codec');
const { randomUUID } = require('crypto');
const assert = require('assert');

// kafkajs itself has gzip only.
const zstd = new Promise((resolve) => ZstdCodec.run((codec) => resolve(new codec.Simple())));
CompressionCodecs[CompressionTypes.Snappy] = snappy;
// lz4js says of its blocks that they need one another, which Kafka does not take. It is not so while there is but one.
let independent = true;
function frame(bytes) {
  const packed = Buffer.from(lz4.compress(bytes));
  if (independent) {
    packed[4] |= 0x20;
    packed[6] = (xxh32.hash(0, packed, 4, 2) >> 8) & 0xff;
  }
  return packed;
}
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => frame(encoder.buffer),
  decompress: async (bytes) => Buffer.from(lz4.decompress(bytes)),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (bytes) => Buffer.from((await zstd).decompress(bytes)),
});

const kafka = new Kafka({ brokers: [process.env.BOOTSTRAP], logLevel: logLevel.NOTHING, retry: { retries: 5 } });
const topic = (name) => `${name}-${randomUUID().slice(0, 8)}`;
const scenarios = {};

async function produce(name, values, options = {}, settings = {}) {
  const producer = kafka.producer(settings);
  await producer.connect();
  const messages = values.map((value) => ({ key: 'k', value, partition: 0, headers: { from: 'kafkajs' } }));
  const told = await producer.send({ topic: name, messages, ...options });
  await producer.disconnect();
  return told;
}

// Runs a member until `done(found)` is true.
async function consume(name, group, done, { each = async () => {}, before = async () => {} } = {}) {
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 200, maxWaitTimeInMs: 200 });
  await consumer.connect();
  await consumer.subscribe({ topics: [name], fromBeginning: true });
  const found = [];
  await new Promise((resolve, reject) => {
    const eachMessage = async (record) => {
      found.push(record);
      await each(consumer, record);
      if (done(found)) resolve();
    };
    consumer.run({ autoCommit: false, eachMessage }).then(() => before(consumer), reject);
  });
  return { consumer, found };
}

async function waitFor(what, done) {
  for (let i = 0; i < 300; i += 1) {
    if (await done()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`never: ${what}`);
}

scenarios['produce-consume'] = async () => {
  const name = topic('kafkajs');
  const values = Array.from({ length: 1000 }, (_, number) => `${number}`);
  const told = await produce(name, values);
  assert.deepStrictEqual([told[0].errorCode, told[0].baseOffset], [0, '0']);
  const { consumer, found } = await consume(name, topic('group'), (all) => all.length === 1000);
  await consumer.disconnect();
  assert.deepStrictEqual(found.map(({ message }) => `${message.value}`), values);
  assert.strictEqual(`${found[0].message.headers.from}`, 'kafkajs');
};

scenarios.codecs = async () => {
  for (const codec of ['GZIP', 'Snappy', 'LZ4', 'ZSTD']) {
    const name = topic(`kafkajs-${codec}`);
    const values = Array.from({ length: 300 }, (_, number) => `value ${number} `.repeat(20));
    await produce(name, values, { compression: CompressionTypes[codec] });
    const { consumer, found } = await consume(name, topic('group'), (all) => all.length === 300);
    await consumer.disconnect();
    assert.deepStrictEqual(found.map(({ message }) => `${message.value}`), values, codec);
  }
};

scenarios['dependent-lz4-blocks-are-refused'] = async () => {
  independent = false;
  const sent = produce(topic('kafkajs-lz4'), ['value'], { compression: CompressionTypes.LZ4 }).finally(() => {
    independent = true;
  });
  await assert.rejects(sent, (error) => error.code === 87);
};

scenarios.seek = async () => {
  const name = topic('kafkajs-seek');
  await produce(name, Array.from({ length: 100 }, (_, number) => `${number}`));
  const { consumer, found } = await consume(name, topic('group'), (all) => all.some(({ message }) => message.offset === '90'), {
    before: async (one) => one.seek({ topic: name, partition: 0, offset: '90' }),
  });
  await consumer.disconnect();
  // What was fetched before the seek is thrown away: the tenth record from the end comes first.
  assert.strictEqual(found[0].message.offset, '90');
};

scenarios['group-rebalance'] = async () => {
  const name = topic('kafkajs-group');
  const group = topic('group');
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: name, numPartitions: 4 }] });
  await produce(name, ['first']);
  const one = await consume(name, group, (all) => all.length === 1);
  const sizes = async () => {
    const [described] = (await admin.describeGroups([group])).groups;
    return described.state === 'Stable' ? described.members.length : 0;
  };
  const two = kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 200 });
  await two.connect();
  await two.subscribe({ topics: [name], fromBeginning: true });
  await two.run({ eachMessage: async () => {} });
  await waitFor('two members', async () => (await sizes()) === 2);
  await two.disconnect();
  await waitFor('one member', async () => (await sizes()) === 1);
  await one.consumer.disconnect();
  await admin.disconnect();
};

scenarios['commit-and-go-on'] = async () => {
  const name = topic('kafkajs-commit');
  const group = topic('group');
  await produce(name, Array.from({ length: 100 }, (_, number) => `${number}`));
  const { consumer } = await consume(name, group, (all) => all.length === 100);
  await consumer.commitOffsets([{ topic: name, partition: 0, offset: '40' }]);
  await consumer.disconnect();
  const again = await consume(name, group, (all) => all.length === 60);
  await again.consumer.disconnect();
  assert.strictEqual(again.found[0].message.offset, '40');
};

scenarios['idempotent-producer'] = async () => {
  const name = topic('kafkajs-idempotent');
  const values = Array.from({ length: 500 }, (_, number) => `${number}`);
  await produce(name, values, {}, { idempotent: true });
  const { consumer, found } = await consume(name, topic('group'), (all) => all.length === 500);
  await consumer.disconnect();
  assert.deepStrictEqual(found.map(({ message }) => `${message.value}`), values);
};

scenarios.topics = async () => {
  const name = topic('kafkajs-admin');
  const admin = kafka.admin();
  await admin.connect();
  assert.strictEqual(await admin.createTopics({ topics: [{ topic: name, numPartitions: 3 }] }), true);
  assert.strictEqual(await admin.createTopics({ topics: [{ topic: name, numPartitions: 3 }] }), false);
  await admin.createPartitions({ topicPartitions: [{ topic: name, count: 5 }] });
  const { topics } = await admin.fetchTopicMetadata({ topics: [name] });
  assert.strictEqual(topics[0].partitions.length, 5);
  assert.strictEqual((await admin.fetchTopicOffsets(name)).length, 5);
  assert.strictEqual((await admin.describeCluster()).controller, 0);
  await admin.deleteTopics({ topics: [name] });
  assert.ok(!(await admin.listTopics()).includes(name));
  await admin.disconnect();
};

scenarios['groups-admin'] = async () => {
  const name = topic('kafkajs-groups');
  const group = topic('group');
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }] });
  await admin.setOffsets({ groupId: group, topic: name, partitions: [{ partition: 0, offset: '7' }] });
  const [kept] = await admin.fetchOffsets({ groupId: group, topics: [name] });
  assert.strictEqual(kept.partitions[0].offset, '7');
  assert.ok((await admin.listGroups()).groups.some(({ groupId }) => groupId === group));
  await admin.deleteGroups([group]);
  assert.ok(!(await admin.listGroups()).groups.some(({ groupId }) => groupId === group));
  await admin.disconnect();
};

(async () => {
  let failed = false;
  const wanted = process.argv.slice(2);
  for (const [name, run] of Object.entries(scenarios)) {
    if (wanted.length && !wanted.includes(name)) continue;
    const late = new Promise((_, reject) => setTimeout(reject, 40000, new Error('not done in 40 s')).unref());
    try {
      await Promise.race([run(), late]);
      console.log(`ok kafkajs ${name}`);
    } catch (error) {
      console.error(error);
      console.log(`FAILED kafkajs ${name}: ${`${error.message}`.split('\n').join(' ').slice(0, 300)}`);
      failed = true;
    }
  }
  process.exit(failed ? 1 : 0);
})();
