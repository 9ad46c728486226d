package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var groupVersion = schema.GroupVersion{Group: "app.bex.co", Version: "v1alpha1"}

// App has the fields that the comparison uses.
type App struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              AppSpec   `json:"spec"`
	Status            AppStatus `json:"status,omitempty"`
}

type AppSpec struct {
	Image    string   `json:"image"`
	Port     int32    `json:"port"`
	Replicas int32    `json:"replicas"`
	Host     string   `json:"host,omitempty"`
	Env      []EnvVar `json:"env,omitempty"`
}

type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

type AppStatus struct {
	Phase              string             `json:"phase,omitempty"`
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Release            *Release           `json:"release,omitempty"`
	URL                string             `json:"url,omitempty"`
	URLs               []string           `json:"urls,omitempty"`
	Replicas           int32              `json:"replicas"`
	ReadyReplicas      int32              `json:"readyReplicas"`
	Selector           string             `json:"selector,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

type Release struct {
	Number int64  `json:"number"`
	Digest string `json:"digest"`
}

type AppList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []App `json:"items"`
}

func (a *App) DeepCopyObject() runtime.Object {
	out := *a
	out.ObjectMeta = *a.ObjectMeta.DeepCopy()
	out.Spec.Env = append([]EnvVar(nil), a.Spec.Env...)
	out.Status = a.Status.deepCopy()
	return &out
}

func (s AppStatus) deepCopy() AppStatus {
	out := s
	if s.Release != nil {
		release := *s.Release
		out.Release = &release
	}
	out.URLs = append([]string(nil), s.URLs...)
	out.Conditions = append([]metav1.Condition(nil), s.Conditions...)
	return out
}

func (l *AppList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = make([]App, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*App)
	}
	return &out
}

func register(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(groupVersion, &App{}, &AppList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	return nil
}
