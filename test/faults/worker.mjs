// Body of the worker threads of workers.test.mjs.
import { parentPort, workerData } from 'node:worker_threads';
import { Predictor } from 'tandem-ml';
import { build, makeTrainer, makeX, startFit, work } from './support.mjs';

const tasks = {
  work: async () => parentPort?.postMessage(await work(workerData.seed)),

  /** Trains, predicts and runs bindings until it is terminated. */
  busy: async () => {
    const fit = await startFit(makeTrainer());
    fit.done.catch(() => {});
    const predictor = await Predictor.load(build());
    const io = predictor.bind(64);
    const x = makeX(512);
    parentPort?.postMessage('busy');
    for (;;)
      await Promise.all([io.run(), ...Array.from({ length: 50 }, () => predictor.predict(x))]);
  },

  /** Ends by itself with everything still pending. */
  leave: async () => {
    await startFit(makeTrainer());
    const predictor = await Predictor.load(build());
    predictor.predict(makeX(512));
    predictor.bind(64).run();
    process.exit(5);
  },
};

await tasks[workerData.task]();
