/** Runs one thing at a time, which can be stopped. */
export class Runner extends EventTarget {
  #controller = null;
  #finished = Promise.resolve();

  get isBusy() {
    return this.#controller !== null;
  }

  /**
   * Does nothing while something runs.
   *
   * @param {(signal: AbortSignal) => Promise<void>} action
   * @param {(error: Error) => void} onError
   */
  run(action, onError) {
    if (!this.isBusy) this.#finished = this.#run(action, onError);
    return this.#finished;
  }

  /** Resolves when what ran has ended. */
  stop() {
    this.#controller?.abort();
    return this.#finished;
  }

  async #run(action, onError) {
    this.#controller = new AbortController();
    this.dispatchEvent(new Event("change"));
    try {
      await action(this.#controller.signal);
    } catch (error) {
      onError(error);
    } finally {
      this.#controller = null;
      this.dispatchEvent(new Event("change"));
    }
  }
}
