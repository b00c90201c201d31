/** What the plugin gives. */
declare module "page:sections" {
  export const sections: Record<string, import("./runner").Script>
}
declare module "page:TaskList.jsx" {
  export function TaskList(props: { userId: string }): import("react").ReactElement
}
declare module "page:TaskList.svelte" {
  const component: import("svelte").Component
  export default component
}
declare module "page:TaskList.vue" {
  const component: import("vue").Component
  export default component
}
