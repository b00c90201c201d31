/** Signs in: with the link that the server has printed, or with its secret. */

const form = document.querySelector<HTMLFormElement>("#sign-in")!
const secret = document.querySelector<HTMLInputElement>("#secret")!
const failure = document.querySelector<HTMLElement>("#failure")!

async function signIn(said: { link: string } | { secret: string }): Promise<void> {
  failure.textContent = ""
  try {
    const response = await fetch("api/sign-in", {
      method: "POST",
      headers: { "content-type": "application/json", "x-collab-inspector": "1" },
      body: JSON.stringify(said),
    })
    if (response.ok) {
      location.reload()
      return
    }
    const body = (await response.json()) as { error?: { message?: string } }
    failure.textContent = body.error?.message ?? `the server answered ${response.status}`
  } catch {
    failure.textContent = "the server does not answer"
  }
  secret.focus()
}

form.addEventListener("submit", (event) => {
  event.preventDefault()
  void signIn({ secret: secret.value })
})

// the part behind # is never sent to a server, and does not stay in the browser's history
const link = location.hash.slice(1)
if (link.length > 60 && link.split(".").length === 3) {
  history.replaceState(null, "", location.pathname)
  void signIn({ link })
}
