// kafkajs: Node. Its package is installed below target/wire, which NODE_PATH names.
const { Kafka, logLevel } = require('kafkajs');
const readline = require('readline');

const kafka = new Kafka({ brokers: [process.env.BOOTSTRAP], logLevel: logLevel.NOTHING, retry: { retries: 8, initialRetryTime: 50 } });
const producers = {};
const FENCED = ['INVALID_PRODUCER_EPOCH', 'PRODUCER_FENCED'];

// Runs a member until it has so many records of a partition; it can only read in a group.
async function consume(topic, partition, count, settings) {
  const consumer = kafka.consumer({ maxWaitTimeInMs: 100, ...settings });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  const found = [];
  await new Promise((resolve, reject) => {
    const eachMessage = async (record) => {
      if (record.partition === Number(partition) && found.length < count) found.push(record.message);
      if (found.length >= count) resolve();
    };
    consumer.run({ autoCommit: false, eachMessage }).catch(reject);
  });
  return { consumer, found, told: found.map(({ value, offset }) => `${value}@${offset}`).join(' ') };
}

const commands = {
  async producer(name, id, timeout) {
    const producer = kafka.producer({ transactionalId: id, transactionTimeout: Number(timeout), maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    // Only a transaction asks for the producer's id: the first one begins here.
    producers[name] = { producer, next: await producer.transaction() };
  },
  async begin(name) {
    const one = producers[name];
    one.transaction = one.next || (await one.producer.transaction());
    one.next = undefined;
  },
  async send(name, topic, partition, ...values) {
    const messages = values.map((value) => ({ value, partition: Number(partition) }));
    await producers[name].transaction.send({ topic, messages });
  },
  commit: (name) => producers[name].transaction.commit(),
  abort: (name) => producers[name].transaction.abort(),
  async read(isolation, topic, partition, count) {
    const settings = { groupId: `read-${process.pid}-${Math.random()}`, readUncommitted: isolation === 'uncommitted' };
    const { consumer, told } = await consume(topic, partition, Number(count), settings);
    await consumer.disconnect();
    return told;
  },
  async transform(name, group, source, target, count, end) {
    const { consumer, found, told } = await consume(source, 0, Number(count), { groupId: group });
    await commands.begin(name);
    await commands.send(name, target, 0, ...found.map(({ value }) => `${value}`.toUpperCase()));
    const offset = `${Number(found[found.length - 1].offset) + 1}`;
    const offsets = [{ topic: source, partitions: [{ partition: 0, offset }] }];
    await producers[name].transaction.sendOffsets({ consumerGroupId: group, topics: offsets });
    await commands[end](name);
    await consumer.disconnect();
    return told;
  },
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [command, ...words] = line.split(' ');
    try {
      const told = await commands[command](...words);
      console.log(`ok ${typeof told === 'string' ? told : ''}`);
    } catch (error) {
      console.error(error);
      console.log(`${FENCED.includes(error.type) ? 'fenced' : 'error'} ${error.name} ${`${error.message}`.replace(/\s+/g, ' ')}`);
    }
  }
  process.exit(0);
})();
