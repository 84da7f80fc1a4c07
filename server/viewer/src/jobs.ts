// Running a process of the server as a job: asked for, followed, stopped.
import { resolve, ServerProblem, detailOf } from "./config";

export interface Progress {
  percent: number;
  message: string;
}

interface JobStatus {
  jobID: string;
  status: string;
  progress?: number;
  message?: string;
}

const PAUSE_MS = 400;

/** The job was stopped by whoever asked for it. */
export class Stopped extends Error {}

export class Job {
  private isStopped = false;
  private address: string | undefined;

  constructor(
    private readonly execution: string,
    private readonly inputs: Record<string, unknown>,
    private readonly language: string,
  ) {}

  /** Start it and wait for its results. Throws `ServerProblem` with the server's words, and `Stopped`. */
  async run(progress: (at: Progress) => void): Promise<unknown> {
    const headers = { "Content-Type": "application/json", Accept: "application/json", "Accept-Language": this.language, Prefer: "respond-async" };
    const body = JSON.stringify({ inputs: this.inputs });
    const answer = await this.ask(resolve(this.execution), { method: "POST", headers, body });
    let job = (await answer.json()) as JobStatus;
    if (answer.status !== 201) return job; // done at once
    this.address = resolve(`/jobs/${encodeURIComponent(job.jobID)}`);
    for (;;) {
      if (this.isStopped) return await this.dismiss();
      progress({ percent: job.progress ?? 0, message: job.message ?? "" });
      if (job.status === "dismissed") throw new Stopped();
      if (job.status !== "accepted" && job.status !== "running") break;
      await new Promise((done) => setTimeout(done, PAUSE_MS));
      if (!this.isStopped) job = (await (await this.ask(this.address, { headers: { Accept: "application/json" } })).json()) as JobStatus;
    }
    const results = await this.ask(`${this.address}/results`, { headers: { Accept: "application/json" } });
    return (await results.json()) as unknown;
  }

  stop(): void {
    this.isStopped = true;
  }

  private async dismiss(): Promise<never> {
    if (this.address) await fetch(this.address, { method: "DELETE", headers: { Accept: "application/json" } }).catch(() => undefined);
    throw new Stopped();
  }

  private async ask(address: string, options: RequestInit): Promise<Response> {
    let answer: Response;
    try {
      answer = await fetch(address, options);
    } catch (error) {
      throw new ServerProblem(address, 0, error instanceof Error ? error.message : String(error));
    }
    if (!answer.ok) throw new ServerProblem(address, answer.status, await detailOf(answer));
    return answer;
  }
}
